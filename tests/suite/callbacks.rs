//! Callbacks: in which order they are called, which lines they print, and what an error of theirs does.

use crate::small_run::{self, Watch, built, images, net, record, trainer, with_targets};
use crate::variables::bits;
use densenet::data::{Dataset, Targets};
use densenet::error::{DataError, IoError};
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::optim::Schedule;
use densenet::report::{ConsoleLog, HistoryFile};
use densenet::tch::{Reduction, Tensor};
use densenet::train::{Callback, Datasets, EpochRecord, Event, History, Monitor, Run, SaveWeights};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNet, Error, TrainConfig, Trainer};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::rc::Rc;

fn config() -> TrainConfig {
    TrainConfig::new(2).with_batch_size(8)
}

fn fit(trainer: &mut Trainer<DenseNet>) -> Result<History, Error> {
    small_run::fit(trainer, &images(20, 0), &images(8, 1))
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
    let mut trainer = trainer(config()).with_callback(ConsoleLog::to(console.clone()));
    let history = fit(&mut trainer).unwrap();
    let lines = console.lines();
    let metrics = |record: &EpochRecord| {
        let [train, test] = [&record.train, record.test.as_ref().unwrap()].map(|set| set.accuracy().unwrap());
        format!("loss {:.3}, train acc {train:.3}, test acc {test:.3}", record.train.loss())
    };
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(lines[0], "----------------start------------------");
    assert_eq!(lines[1], format!("[epoch 1] {}", metrics(&history.epochs[0])));
    assert_eq!(lines[2], format!("[epoch 2] {}", metrics(&history.epochs[1])));
    assert_eq!(lines[3], metrics(&history.epochs[1]));
    assert_eq!(lines[4], format!("{:.1} sec, on cpu", history.train_seconds()));
    assert_eq!(form(&lines[1]), "[epoch 0] loss 0.000, train acc 0.000, test acc 0.000");
    assert_eq!(form(&lines[4]), "0.0 sec, on cpu");
    let speed = lines[5].strip_suffix(" images/s").unwrap().parse::<f64>().unwrap();
    // Printed with one decimal.
    assert!((speed - history.samples_per_second()).abs() <= 0.051);
}

#[test]
fn console_log_prints_the_metrics_that_a_run_has() {
    let lines_of = |trainer: Trainer<DenseNet>, datasets: &Datasets| {
        let console = Console::default();
        trainer.with_callback(ConsoleLog::to(console.clone())).fit(datasets).unwrap();
        console.lines()
    };
    let lines = |trainer: Trainer<DenseNet>, train: &dyn Dataset, test: &dyn Dataset| {
        lines_of(trainer, &Datasets::new(train).with_test(test))
    };
    let (train, validation, test) = (images(20, 0), images(8, 2), images(8, 1));
    let alone = lines_of(trainer(config()), &Datasets::new(&train));
    assert_eq!(form(&alone[1]), "[epoch 0] loss 0.000, train acc 0.000");
    let sets = Datasets::new(&train).with_validation(&validation).with_test(&test);
    let with_validation = lines_of(trainer(config()), &sets);
    let expected = "[epoch 0] loss 0.000, train acc 0.000, validation acc 0.000, test acc 0.000";
    assert_eq!(form(&with_validation[1]), expected);

    let targets = Targets::Values { data: vec![0.5; 4 * 20], width: 4 };
    let numbers = with_targets(&images(20, 0), targets, &[]);
    let squares = |outputs: &Tensor, targets: &Tensor| outputs.mse_loss(targets, Reduction::Mean);
    let regression = lines(trainer(config()).with_loss(squares), &numbers, &numbers);
    assert_eq!(form(&regression[1]), "[epoch 0] loss 0.000, test loss 0.000");

    let stopped = trainer(config());
    let stop = stopped.stop_handle();
    let at_two = Watch(move |event: &Event, _: &Run| {
        if let Event::StepEnded { step: 2, .. } = event {
            stop.stop();
        }
        Ok(ControlFlow::Continue(()))
    });
    let stopped = lines(stopped.with_callback(at_two), &images(20, 0), &images(8, 1));
    assert_eq!(stopped, ["----------------start------------------", "stopped in epoch 1 after step 2 of 3"]);
}

#[test]
fn saved_weights_equal_the_variables_after_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let saved = file.clone();
    let (seen, watch) = record(move |event, run| {
        let after_saving = matches!(event, Event::EpochEnded { .. } | Event::FitEnded { .. });
        after_saving.then(|| {
            let (vs, _model) = built(&net());
            load(&vs, &saved, &LoadConfig::new()).unwrap();
            bits(&vs) == bits(run.vs)
        })
    });
    let mut trainer = trainer(config()).with_callback(SaveWeights::to(&file)).with_callback(watch);
    fit(&mut trainer).unwrap();
    assert_eq!(*seen.borrow(), [true; 3]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn callbacks_get_all_events_in_the_order_in_which_they_were_added() {
    let calls: Rc<RefCell<Vec<(u8, String)>>> = Rc::default();
    let mut trainer = trainer(config());
    for number in [1, 2] {
        let calls = calls.clone();
        trainer = trainer.with_callback(Watch(move |event: &Event, run: &Run| {
            let done = run.history.epochs.len();
            let text = match event {
                Event::FitStarted => format!("start of {} steps", run.steps_per_epoch),
                Event::StepEnded { epoch, step, samples, .. } => format!("step {epoch}.{step} of {samples}"),
                Event::EvaluationStarted { epoch } => format!("evaluation {epoch} after {done}"),
                Event::EpochEnded { record, validation: None, test: Some(test) } => {
                    assert_eq!((run.history.last(), record.test.as_ref()), (Some(*record), Some(&test.metrics)));
                    format!("epoch {} after {done}", record.epoch)
                }
                Event::FitEnded { .. } => format!("end after {done}"),
                _ => panic!("{event:?}"),
            };
            calls.borrow_mut().push((number, text));
            Ok(ControlFlow::Continue(()))
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
fn a_callbacks_error_ends_the_run_with_it() {
    let fails = Watch(|event: &Event, _: &Run| match event {
        Event::StepEnded { step: 2, .. } => Err(Error::Data(DataError::EmptyDataset)),
        _ => Ok(ControlFlow::Continue(())),
    });
    let (later, watch) = record(|event, _| Some(format!("{event:?}")));
    let mut trainer = trainer(config()).with_callback(fails).with_callback(watch);
    assert!(matches!(fit(&mut trainer), Err(Error::Data(DataError::EmptyDataset))));
    let later = later.borrow();
    assert_eq!(later.len(), 4, "the start, both steps, and the failure: {later:?}");
    assert!(later[2].contains("step: 2") && later[3].contains("FitFailed"), "{later:?}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing/file");
    let mut trainers = [
        trainer(config()).with_callback(HistoryFile::csv(&nowhere)),
        trainer(config()).with_callback(HistoryFile::json_lines(&nowhere)),
        trainer(config()).with_callback(SaveWeights::to(&nowhere)),
        trainer(config()).with_callback(SaveWeights::best_to(&nowhere, Monitor::loss())),
    ];
    let (train, validation) = (images(20, 0), images(8, 1));
    for trainer in &mut trainers {
        let before = bits(trainer.var_store());
        let error = trainer.fit(&Datasets::new(&train).with_validation(&validation)).unwrap_err();
        let Error::Io(IoError::Failed { path, .. }) = &error else { panic!("{error:?}") };
        assert!(*path == nowhere, "{error}");
        assert!(bits(trainer.var_store()) == before, "{error}");
    }
}

/// A place where nothing can be written.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_that_fails_is_reported_once_and_the_run_continues_without_it() {
    for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
        let (warnings, watch) = record(|event, _| match event {
            Event::Warning { message } => Some(message.to_string()),
            _ => None,
        });
        let mut trainer = trainer(config()).with_callback(ConsoleLog::to(Broken(kind))).with_callback(watch);
        assert_eq!(fit(&mut trainer).unwrap().epochs.len(), 2);
        let warnings = warnings.borrow();
        assert!(warnings.len() == 1 && warnings[0].contains("ConsoleLog"), "{warnings:?}");
    }
}

/// A callback that panics at the first step of the second epoch.
struct Panics(bool);

impl Callback for Panics {
    fn on_event(&mut self, event: &Event, _: &Run) -> densenet::Result<ControlFlow<()>> {
        assert!(!matches!(event, Event::StepEnded { epoch: 2, .. }) || std::mem::replace(&mut self.0, true), "lost");
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn a_panic_in_fit_leaves_the_callbacks_in_the_trainer_and_the_next_call_continues() {
    let (steps, watch) = record(|event, _| match event {
        Event::StepEnded { epoch, step, .. } => Some((*epoch, *step)),
        _ => None,
    });
    let mut trainer = trainer(config()).with_callback(Panics(false)).with_callback(watch);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fit(&mut trainer))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"lost"));
    assert_eq!(fit(&mut trainer).unwrap().epochs.len(), 2);
    assert_eq!(*steps.borrow(), [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)], "the step of the panic was made");
}

#[test]
fn steps_say_their_own_learning_rate_and_the_run_its_base() {
    let (seen, watch) = record(|event, run| match event {
        Event::StepEnded { learning_rate, .. } => Some((*learning_rate, run.base_learning_rate)),
        _ => None,
    });
    let config = config().with_schedule(Schedule::Epochs { milestones: vec![1], gamma: 0.5 });
    let history = fit(&mut trainer(config).with_callback(watch)).unwrap();
    assert_eq!(*seen.borrow(), [[(0.1, 0.1); 3], [(0.05, 0.1); 3]].concat());
    assert_eq!(history.epochs.iter().map(|record| record.learning_rate).collect::<Vec<_>>(), [0.1, 0.05]);
}

/// The largest output of all samples so far.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct LargestOutput(Option<f64>);

impl Metric for LargestOutput {
    fn name(&self) -> String {
        "largest".to_owned()
    }
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn update(&mut self, batch: &BatchOutput) -> densenet::Result<()> {
        let largest = batch.outputs.max().double_value(&[]);
        self.0 = Some(self.0.map_or(largest, |before| before.max(largest)));
        Ok(())
    }
    fn merge(&mut self, other: &Self) {
        self.0 = [self.0, other.0].into_iter().flatten().reduce(f64::max);
    }
    fn compute(&self) -> Option<f64> {
        self.0
    }
}

#[test]
fn a_metric_of_ones_own_reaches_history_console_and_csv_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, console) = (folder.path().join("history.csv"), Console::default());
    let mut trainer = trainer(config())
        .with_metric(LargestOutput::default())
        .with_callback(ConsoleLog::to(console.clone()))
        .with_callback(HistoryFile::csv(&csv));
    let history = fit(&mut trainer).unwrap();
    let test = trainer.evaluate(&images(8, 1)).unwrap().metrics;
    let last = history.last().unwrap();
    assert_eq!(last.test.as_ref(), Some(&test));
    assert_eq!(test.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["loss", "accuracy", "largest"]);
    let (train, test) = (last.train.get("largest").unwrap(), test.get("largest").unwrap());
    let line = &console.lines()[2];
    assert!(line.contains(&format!("train largest {train:.3}")), "{line}");
    assert!(line.ends_with(&format!("test largest {test:.3}")), "{line}");
    let text = fs::read_to_string(csv).unwrap();
    let cells = |line: usize| text.lines().nth(line).unwrap().split(',').collect::<Vec<_>>();
    let column = cells(0).iter().position(|name| *name == "test_largest").unwrap();
    assert_eq!(cells(2)[column].parse(), Ok(test));
}
