//! Runs that end early: by a handle, by a callback, by the validation set and never by the test set.

use crate::small_run::{Watch, built, fit, images, net, record, trainer, with_targets};
use crate::variables::bits;
use densenet::data::{Dataset, split_validation};
use densenet::error::ConfigError;
use densenet::tch::{Kind, Tensor};
use densenet::train::{CheckpointConfig, Datasets, EarlyStop, Event, Monitor, Outcome, Run};
use densenet::train::{SaveEvery, SaveWeights, StopHandle};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNet, Error, SgdConfig, TrainConfig, Trainer};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

/// Three steps per epoch.
fn config(epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs).with_batch_size(8)
}

/// How a run ended and where: its epoch and the steps made in it; how many steps it made, and how many epochs it
/// evaluated.
type Ended = ((Outcome, usize, usize), usize, usize);

/// How a run over 24 samples ended; and the trainer.
fn run(trainer: Trainer<DenseNet>) -> (Ended, Trainer<DenseNet>) {
    let (train, test) = (images(24, 0), images(8, 1));
    run_on(trainer, &Datasets::new(&train).with_test(&test))
}

fn run_on(trainer: Trainer<DenseNet>, datasets: &Datasets) -> (Ended, Trainer<DenseNet>) {
    let (steps, count) = record(|event, _| matches!(event, Event::StepEnded { .. }).then_some(()));
    let (outcomes, end) = record(|event, run| match event {
        Event::FitEnded { outcome } => Some((*outcome, run.epoch, run.step)),
        _ => None,
    });
    let mut trainer = trainer.with_callback(count).with_callback(end);
    let history = trainer.fit(datasets).unwrap();
    let outcomes = outcomes.borrow();
    assert_eq!(outcomes.len(), 1);
    ((outcomes[0], steps.borrow().len(), history.epochs.len()), trainer)
}

/// Stops the run through its handle at events for which the function is true.
fn stop_when(
    handle: StopHandle,
    when: impl Fn(&Event) -> bool + 'static,
) -> Watch<impl FnMut(&Event, &Run) -> densenet::Result<ControlFlow<()>>> {
    Watch(move |event: &Event, _: &Run| {
        if when(event) {
            handle.stop();
        }
        Ok(ControlFlow::Continue(()))
    })
}

#[test]
fn a_run_that_is_not_stopped_finishes() {
    assert_eq!(run(trainer(config(2))).0, ((Outcome::Finished, 3, 0), 6, 2));
}

#[test]
fn a_handle_ends_the_run_after_the_current_step_in_the_first_epoch_too() {
    for (epoch, step) in [(1, 1), (1, 2), (2, 3)] {
        let trainer = trainer(config(5));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.safetensors");
        let is_it = move |event: &Event| matches!(event, Event::StepEnded { epoch: e, step: s, .. } if (*e, *s) == (epoch, step));
        let stop = stop_when(trainer.stop_handle(), is_it);
        let trainer = trainer.with_callback(stop).with_callback(SaveWeights::to(&file));
        let (ended, trainer) = run(trainer);
        assert_eq!(ended, ((Outcome::Interrupted, epoch, step), 3 * (epoch - 1) + step, epoch - 1));
        assert!(!trainer.stop_handle().is_stopped(), "the next call of fit continues");

        // What was reached is saved.
        let (vs, _model) = built(&net());
        load(&vs, &file, &LoadConfig::new()).unwrap();
        assert!(bits(&vs) == bits(trainer.var_store()));
    }
}

#[test]
fn a_stop_during_evaluation_interrupts_it_and_the_next_call_of_fit_begins_with_it() {
    for epochs in [2, 5] {
        let trainer = trainer(config(epochs));
        let at_two = |event: &Event| matches!(event, Event::EvaluationStarted { epoch: 2 });
        let first = std::cell::Cell::new(true);
        let stop = stop_when(trainer.stop_handle(), move |event| at_two(event) && first.replace(false));
        let (ended, trainer) = run(trainer.with_callback(stop));
        assert_eq!(ended, ((Outcome::Interrupted, 2, 3), 6, 1));
        let (ended, _) = run(trainer);
        assert_eq!(ended, ((Outcome::Finished, epochs + 1, 0), 3 * (epochs - 2), epochs));
    }
}

#[test]
fn a_handle_works_from_another_thread() {
    let trainer = trainer(config(1_000_000));
    let handle = trainer.stop_handle();
    let started = Instant::now();
    let timer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        handle.stop();
    });
    let ((outcome, ..), _) = run(trainer);
    timer.join().unwrap();
    assert!(outcome.0 == Outcome::Interrupted, "{outcome:?}");
    // A step takes milliseconds; all epochs would take hours.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_callback_ends_the_run_after_the_step_or_the_epoch_in_which_it_returns_break() {
    let stop_at = |wanted: fn(&Event) -> bool| {
        Watch(move |event: &Event, _: &Run| {
            Ok(if wanted(event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    };
    type Wanted = fn(&Event) -> bool;
    let cases: [(Wanted, _); 5] = [
        (|event| matches!(event, Event::FitStarted), ((1, 0), 0, 0)),
        (|event| matches!(event, Event::StepEnded { step: 2, .. }), ((1, 2), 2, 0)),
        (|event| matches!(event, Event::EvaluationStarted { .. }), ((2, 0), 3, 1)),
        (|event| matches!(event, Event::EpochEnded { .. }), ((2, 0), 3, 1)),
        (|event| matches!(event, Event::CheckpointSaved { .. }), ((1, 2), 2, 0)),
    ];
    for (wanted, ((epoch, step), steps, epochs)) in cases {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointConfig::in_folder(folder.path()).with_every(SaveEvery::Steps(2));
        let trainer = trainer(config(5)).with_callback(stop_at(wanted)).with_checkpoints(checkpoints);
        assert_eq!(run(trainer).0, ((Outcome::EndedEarly, epoch, step), steps, epochs));
    }
}

/// A trainer whose losses in evaluation follow a script: validation and test of each epoch.
fn scripted(script: &'static [(f64, f64)]) -> Trainer<DenseNet> {
    let (vs, model) = built(&net());
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    let config = config(script.len());
    let calls = Cell::new(0);
    let loss = move |outputs: &Tensor, _: &Tensor| {
        if outputs.requires_grad() {
            return outputs.square().mean(Kind::Float);
        }
        // The first call is the check before the run. Both evaluations of an epoch are one batch: validation comes first.
        let call = usize::saturating_sub(calls.replace(calls.get() + 1), 1);
        let (validation, test) = script[call / 2];
        Tensor::from(if call.is_multiple_of(2) { validation } else { test })
    };
    Trainer::new(vs, model, optimizer, config).unwrap().with_loss(loss)
}

/// Runs with eight of 24 samples held out.
fn run_scripted(trainer: Trainer<DenseNet>) -> Ended {
    let (all, test) = (images(24, 0), images(8, 1));
    let (train, validation) = split_validation(&all, 1.0 / 3.0, 0).unwrap();
    run_on(trainer, &Datasets::new(&train).with_validation(&validation).with_test(&test)).0
}

/// The test set gets better all the time, the validation set up to the second epoch.
const SCRIPT: &[(f64, f64)] = &[(3.0, 9.0), (2.0, 8.0), (2.5, 7.0), (2.0, 6.0), (1.0, 5.0), (0.5, 4.0)];

#[test]
fn early_stop_monitors_the_validation_set_and_not_the_test_set() {
    for (patience, epochs) in [(0, 3), (1, 3), (2, 4), (3, 6)] {
        let (outcome, _, ran) = run_scripted(scripted(SCRIPT).with_callback(EarlyStop::after(patience)));
        assert_eq!(ran, epochs, "patience {patience}");
        assert_eq!(outcome.0, if epochs == 6 { Outcome::Finished } else { Outcome::EndedEarly });
    }
}

#[test]
fn save_best_keeps_the_epoch_that_is_the_best_on_the_validation_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("best.safetensors");
    let (epochs, watch) = record(|event, run| matches!(event, Event::EpochEnded { .. }).then(|| bits(run.vs)));
    let trainer =
        scripted(&SCRIPT[..4]).with_callback(SaveWeights::best_to(&file, Monitor::loss())).with_callback(watch);
    assert_eq!(run_scripted(trainer).2, 4);
    let (vs, _model) = built(&net());
    load(&vs, &file, &LoadConfig::new()).unwrap();
    let best: Vec<bool> = epochs.borrow().iter().map(|epoch| *epoch == bits(&vs)).collect();
    assert_eq!(best, [false, true, false, false]);
}

#[test]
fn held_out_samples_are_not_trained_on() {
    let (lens, watch) = record(|event, run| matches!(event, Event::FitStarted).then(|| run.datasets.train.len()));
    let mut trainer = scripted(&SCRIPT[..1]).with_callback(watch);
    let (all, test) = (images(24, 0), images(5, 1));
    let (train, validation) = split_validation(&all, 1.0 / 3.0, 0).unwrap();
    let history = trainer.fit(&Datasets::new(&train).with_validation(&validation).with_test(&test)).unwrap();
    let record = history.last().unwrap();
    let (validation, test) = (record.validation.as_ref().unwrap(), record.test.as_ref().unwrap());
    assert_eq!((record.train.samples, validation.samples, test.samples), (16, 8, 5));
    assert_eq!(*lens.borrow(), [16]);
    assert_eq!((validation.loss(), test.loss()), SCRIPT[0]);
}

#[test]
fn what_chooses_needs_a_validation_set_and_a_value_to_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("best.safetensors");
    let stop = trainer(config(2)).with_callback(EarlyStop::after(1));
    let save = trainer(config(2)).with_callback(SaveWeights::best_to(&file, Monitor::loss()));
    let keep = CheckpointConfig::in_folder(folder.path().join("checkpoints")).with_keep_best(1, Monitor::loss());
    let keep = trainer(config(2)).with_checkpoints(keep);
    for mut trainer in [stop, save, keep] {
        let before = bits(trainer.var_store());
        let error = fit(&mut trainer, &images(24, 0), &images(8, 1)).unwrap_err();
        assert!(matches!(error, Error::Config(ConfigError::NoValidation { .. })), "{error:?}");
        assert!(bits(trainer.var_store()) == before, "the error comes before the first step");
    }

    let mut trainer = scripted(SCRIPT).with_callback(EarlyStop::after(1).with_monitor(Monitor::accuracy()));
    let images = images(24, 0);
    let targets = densenet::data::Targets::Values { data: vec![0.0; images.len()], width: 1 };
    let numbers = with_targets(&images, targets, &[]);
    match trainer.fit(&Datasets::new(&numbers).with_validation(&numbers).with_test(&numbers)) {
        Err(Error::Config(ConfigError::MetricHasNoValue { name, epoch: 1 })) => assert_eq!(name, "accuracy"),
        other => panic!("{other:?}"),
    }
    assert!(!file.exists());
}
