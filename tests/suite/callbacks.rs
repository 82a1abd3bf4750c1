//! Who watches a run: in which order, with which lines, and what an error of theirs does.

use crate::small_run::{Watch, bits, built, images, net, record, trainer, with_targets};
use densenet::data::{Dataset, Targets, ValidationSize};
use densenet::report::{ConsoleLog, HistoryFile};
use densenet::tch::{Reduction, Tensor};
use densenet::train::{EpochRecord, Event, Flow, History, Run, SaveBest, SaveWeights, Validation};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNet, Error, TrainConfig, Trainer};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::rc::Rc;

fn config() -> TrainConfig {
    TrainConfig::new(2).with_batch_size(8)
}

fn fit(trainer: &mut Trainer<DenseNet>) -> Result<History, Error> {
    trainer.fit(&images(20, 0), &images(8, 1))
}

/// Text that is written here can be read from a clone.
#[derive(Clone, Default)]
struct Console(Rc<RefCell<Vec<u8>>>);

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Console {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.borrow().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Each digit as 0, so that a line shows its form alone.
fn form(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

#[test]
fn console_log_prints_the_tutorials_lines() {
    let console = Console::default();
    let mut trainer = trainer(config());
    trainer.observe(ConsoleLog::to(console.clone()));
    let history = fit(&mut trainer).unwrap();
    let lines = console.lines();
    let figures = |record: &EpochRecord| {
        let (train, test) = (record.train.accuracy.unwrap(), record.test.accuracy.unwrap());
        format!("loss {:.3}, train acc {train:.3}, test acc {test:.3}", record.train.loss)
    };
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(lines[0], "----------------start------------------");
    assert_eq!(lines[1], format!("[epoch 1] {}", figures(&history.epochs[0])));
    assert_eq!(lines[2], format!("[epoch 2] {}", figures(&history.epochs[1])));
    assert_eq!(lines[3], figures(&history.epochs[1]));
    assert_eq!(lines[4], format!("{:.1} sec, on cpu", history.train_seconds()));
    assert_eq!(form(&lines[1]), "[epoch 0] loss 0.000, train acc 0.000, test acc 0.000");
    assert_eq!(form(&lines[4]), "0.0 sec, on cpu");
    let speed = lines[5].strip_suffix(" images/s").unwrap().parse::<f64>().unwrap();
    // Printed with one decimal.
    assert!((speed - history.samples_per_second()).abs() <= 0.051);
}

#[test]
fn console_log_says_what_a_run_has() {
    let lines = |mut trainer: Trainer<DenseNet>, train: &dyn Dataset, test: &dyn Dataset| {
        let console = Console::default();
        trainer.observe(ConsoleLog::to(console.clone()));
        trainer.fit(train, test).unwrap();
        console.lines()
    };
    let hold_out = config().with_validation(Validation::HoldOut(ValidationSize::Count(8)));
    let with_validation = lines(trainer(hold_out), &images(20, 0), &images(8, 1));
    let expected = "[epoch 0] loss 0.000, train acc 0.000, validation acc 0.000, test acc 0.000";
    assert_eq!(form(&with_validation[1]), expected);

    let targets = Targets::Values { data: vec![0.5; 4 * 20], width: 4 };
    let numbers = with_targets(&images(20, 0), targets, &[]);
    let squares = |outputs: &Tensor, targets: &Tensor| outputs.mse_loss(targets, Reduction::Mean);
    let regression = lines(trainer(config()).with_loss(squares), &numbers, &numbers);
    assert_eq!(form(&regression[1]), "[epoch 0] loss 0.000, test loss 0.000");

    let mut stopped = trainer(config());
    let stop = stopped.stop_handle();
    stopped.observe(Watch(move |event: &Event, _: &Run| {
        if let Event::StepEnded { step: 2, .. } = event {
            stop.stop();
        }
        Ok(Flow::Continue)
    }));
    let stopped = lines(stopped, &images(20, 0), &images(8, 1));
    assert_eq!(stopped, ["----------------start------------------", "stopped in epoch 1 after step 2 of 3"]);
}

#[test]
fn saved_weights_equal_the_variables_after_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut trainer = trainer(config());
    let saved = file.clone();
    let (seen, watch) = record(move |event, run| {
        let after_saving = matches!(event, Event::EpochEnded { .. } | Event::FitEnded { .. });
        after_saving.then(|| {
            let (vs, _model) = built(&net());
            load(&vs, &saved, &LoadConfig::new()).unwrap();
            bits(&vs) == bits(run.vs)
        })
    });
    trainer.observe(SaveWeights::to(&file)).observe(watch);
    fit(&mut trainer).unwrap();
    assert_eq!(*seen.borrow(), [true; 3]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn observers_hear_all_events_in_the_order_in_which_they_were_added() {
    let calls: Rc<RefCell<Vec<(u8, String)>>> = Rc::default();
    let mut trainer = trainer(config());
    for number in [1, 2] {
        let calls = calls.clone();
        trainer.observe(Watch(move |event: &Event, run: &Run| {
            let done = run.history.epochs.len();
            let text = match event {
                Event::FitStarted => format!("start of {} steps", run.steps_per_epoch),
                Event::StepEnded { epoch, step, samples, .. } => format!("step {epoch}.{step} of {samples}"),
                Event::EvaluationStarted { epoch } => format!("evaluation {epoch} after {done}"),
                Event::EpochEnded { record, test } => {
                    assert_eq!((run.history.last(), record.test), (Some(*record), test.scores));
                    format!("epoch {} after {done}", record.epoch)
                }
                Event::FitEnded { .. } => format!("end after {done}"),
                _ => panic!("{event:?}"),
            };
            calls.borrow_mut().push((number, text));
            Ok(Flow::Continue)
        }));
    }
    fit(&mut trainer).unwrap();
    let one_epoch = |epoch: usize| {
        let steps = [(1, 8), (2, 8), (3, 4)].map(|(step, samples)| format!("step {epoch}.{step} of {samples}"));
        let ends = [format!("evaluation {epoch} after {}", epoch - 1), format!("epoch {epoch} after {epoch}")];
        [steps.to_vec(), ends.to_vec()].concat()
    };
    let ends = |text: &str| vec![text.to_owned()];
    let events = [ends("start of 3 steps"), one_epoch(1), one_epoch(2), ends("end after 2")].concat();
    let expected: Vec<_> = events.into_iter().flat_map(|event| [(1, event.clone()), (2, event)]).collect();
    assert_eq!(*calls.borrow(), expected);
}

#[test]
fn an_observers_error_ends_the_run_with_it() {
    let mut trainer = trainer(config());
    trainer.observe(Watch(|event: &Event, _: &Run| match event {
        Event::StepEnded { step: 2, .. } => Err(Error::NoAccuracy),
        _ => Ok(Flow::Continue),
    }));
    let (later, watch) = record(|event, _| Some(format!("{event:?}")));
    trainer.observe(watch);
    assert!(matches!(fit(&mut trainer), Err(Error::NoAccuracy)));
    let later = later.borrow();
    assert_eq!(later.len(), 2, "the start and the first step: {later:?}");
    assert!(later[1].contains("step: 1"), "{later:?}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing/file");
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let hold_out = config().with_validation(Validation::HoldOut(ValidationSize::Count(4)));
    let mut trainers: Vec<_> = (0..5).map(|_| trainer(hold_out.clone())).collect();
    trainers[0].observe(HistoryFile::csv(&nowhere));
    trainers[1].observe(HistoryFile::json_lines(&nowhere));
    trainers[2].observe(SaveWeights::to(&nowhere));
    trainers[3].observe(SaveBest::to(&nowhere));
    trainers[4].observe(ConsoleLog::to(Broken));
    for (number, trainer) in trainers.iter_mut().enumerate() {
        let before = bits(trainer.var_store());
        let error = fit(trainer).unwrap_err();
        let Error::Io { path, .. } = &error else { panic!("{error:?}") };
        assert!(number == 4 || *path == nowhere, "{error}");
        assert!(bits(trainer.var_store()) == before, "{error}");
    }
}
