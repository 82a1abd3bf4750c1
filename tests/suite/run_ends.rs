//! What is left of a run after each kind of end, and what a second call of `fit` does.

use crate::datasets::Changed;
use crate::small_run::{Seen, Watch, checkpoints, fit, images, net, record, resuming, trainer, trainer_of};
use crate::variables::bits;
use densenet::data::InMemoryDataset;
use densenet::error::{CheckpointError, DataError, TrainingError};
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::nn::Mode;
use densenet::train::{
    Change, CheckpointConfig, Datasets, EarlyStop, Event, History, Monitor, Outcome, Run, SaveEvery, SaveWeights,
};
use densenet::{DenseNet, Error, Result, TrainConfig, Trainer};
use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Three steps per epoch of 24 samples.
fn config(epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs).with_batch_size(8)
}

fn fitted(trainer: &mut Trainer<DenseNet>) -> Result<History> {
    let (train, validation) = (images(24, 0), images(8, 1));
    trainer.fit(&Datasets::new(&train).with_validation(&validation))
}

/// The epochs and steps of a trainer's updates.
fn steps() -> (Seen<(usize, usize)>, impl densenet::train::Callback + 'static) {
    record(|event, _| match event {
        Event::StepEnded { epoch, step, .. } => Some((*epoch, *step)),
        _ => None,
    })
}

/// The names of the checkpoints in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("checkpoints")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

#[test]
fn a_run_that_early_stopping_ended_stays_ended_however_often_it_is_resumed() {
    // Without an update of weights and statistics the validation loss never changes: one best epoch, then two without
    // an improvement.
    let still = |epochs| config(epochs).with_mode(Mode::TrainFrozenNorms);
    let stopping = |folder: &Path, epochs| {
        trainer_of(&net(), 1e-30, still(epochs)).with_callback(EarlyStop::after(2)).with_checkpoints(resuming(folder))
    };
    for interrupted_at in 0..9 {
        let folder = tempfile::tempdir().unwrap();
        let (made, watch) = steps();
        let first = stopping(folder.path(), 10).with_callback(watch);
        let stop = first.stop_handle();
        let count = Cell::new(0);
        let interrupt = Watch(move |event: &Event, _: &Run| {
            count.set(count.get() + usize::from(matches!(event, Event::StepEnded { .. })));
            if count.get() == interrupted_at && interrupted_at > 0 {
                stop.stop();
            }
            Ok(ControlFlow::Continue(()))
        });
        fitted(&mut first.with_callback(interrupt)).unwrap();
        assert_eq!(made.borrow().len(), if interrupted_at == 0 { 9 } else { interrupted_at });
        let (rest, watch) = steps();
        assert_eq!(fitted(&mut stopping(folder.path(), 10).with_callback(watch)).unwrap().epochs.len(), 3);
        assert_eq!(rest.borrow().len() + made.borrow().len(), 9, "interrupted at {interrupted_at}");
        for _ in 0..2 {
            let (rest, watch) = steps();
            let (ends, end) = record(|event, _| match event {
                Event::FitEnded { outcome } => Some(*outcome),
                _ => None,
            });
            let mut again = stopping(folder.path(), 10).with_callback(watch).with_callback(end);
            assert_eq!(fitted(&mut again).unwrap().epochs.len(), 3);
            assert!(rest.borrow().is_empty());
            assert_eq!(*ends.borrow(), [Outcome::EndedEarly]);
        }
    }
    // More epochs, or more patience, by permission.
    let folder = tempfile::tempdir().unwrap();
    fitted(&mut stopping(folder.path(), 10)).unwrap();
    let allowing = |changes: Vec<Change>| resuming(folder.path()).with_allowed_changes(changes);
    let mut longer = stopping(folder.path(), 11).with_checkpoints(allowing(vec![Change::Epochs]));
    assert_eq!(fitted(&mut longer).unwrap().epochs.len(), 4, "its patience is over after each epoch");
    drop(longer);
    let patient = trainer_of(&net(), 1e-30, still(11)).with_callback(EarlyStop::after(5));
    let mut patient = patient.with_checkpoints(allowing(vec![Change::Epochs, Change::Callbacks]));
    assert_eq!(fitted(&mut patient).unwrap().epochs.len(), 10, "a new callback begins to count anew");
}

#[test]
fn a_second_call_of_fit_continues_the_run_and_a_finished_run_with_more_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(config(4));
    fitted(&mut whole).unwrap();
    let (made, watch) = steps();
    let mut twice = trainer(config(2))
        .with_callback(EarlyStop::after(10))
        .with_callback(SaveWeights::best_to(folder.path().join("best.safetensors"), Monitor::loss()))
        .with_callback(watch)
        .with_checkpoints(checkpoints(folder.path()));
    assert_eq!(fitted(&mut twice).unwrap().epochs.len(), 2);
    assert_eq!(fitted(&mut twice).unwrap().epochs.len(), 2, "nothing is left to do");
    assert_eq!(made.borrow().len(), 6);
    let before = names(folder.path());
    let mut twice = twice.with_epochs(4);
    assert_eq!(fitted(&mut twice).unwrap().epochs.len(), 4);
    assert!(bits(twice.var_store()) == bits(whole.var_store()));
    let after = names(folder.path());
    assert!(after.iter().all(|name| name > before.last().unwrap()), "{before:?} are outranked by {after:?}");
    drop(twice);
    let mut resumed = trainer(config(4)).with_checkpoints(resuming(folder.path()));
    assert!(matches!(fitted(&mut resumed), Err(Error::Checkpoint(CheckpointError::ConfigMismatch { .. }))));
}

#[test]
fn an_interrupted_call_of_fit_is_continued_by_the_next_one_bit_for_bit() {
    let mut whole = trainer(config(3));
    fitted(&mut whole).unwrap();
    for with_checkpoints in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = trainer(config(3));
        let stop = parts.stop_handle();
        if with_checkpoints {
            parts = parts.with_checkpoints(checkpoints(folder.path()));
        }
        let mut parts = parts.with_callback(Watch(move |event: &Event, _: &Run| {
            if let Event::StepEnded { step: 2, .. } = event {
                stop.stop();
            }
            Ok(ControlFlow::Continue(()))
        }));
        for epochs in 0..3 {
            assert_eq!(fitted(&mut parts).unwrap().epochs.len(), epochs);
        }
        assert_eq!(fitted(&mut parts).unwrap().epochs.len(), 3);
        assert!(bits(parts.var_store()) == bits(whole.var_store()));
    }
}

#[test]
fn a_resume_that_is_refused_is_refused_again_and_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    fitted(&mut trainer(config(1)).with_checkpoints(checkpoints(folder.path()))).unwrap();
    let before = names(folder.path());
    let mut other = trainer(config(1).with_seed(9)).with_checkpoints(resuming(folder.path()));
    for _ in 0..3 {
        match fitted(&mut other) {
            Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) => {
                assert_eq!(differences.into_keys().collect::<Vec<_>>(), ["seed"]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(names(folder.path()), before);
    }
}

#[test]
fn with_another_batch_size_no_sample_is_lost_and_later_saves_outrank_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let seen: &'static Mutex<Vec<usize>> = Box::leak(Box::default());
    let watched = |train: InMemoryDataset| {
        Changed::new(train, move |keys, _| {
            if keys.iter().all(|key| key.phase == densenet::data::Phase::Train) {
                seen.lock().unwrap().extend(keys.iter().map(|key| key.index));
            }
            Ok(())
        })
    };
    let train = watched(images(24, 0));
    let first = trainer(config(1).with_batch_size(4).with_workers(0));
    let stop = first.stop_handle();
    let first = first.with_callback(Watch(move |event: &Event, _: &Run| {
        if let Event::StepEnded { step: 4, .. } = event {
            stop.stop();
        }
        Ok(ControlFlow::Continue(()))
    }));
    let every = |config: CheckpointConfig| config.with_every(SaveEvery::Steps(2));
    first.with_checkpoints(every(checkpoints(folder.path()))).fit(&Datasets::new(&train)).unwrap();
    let before = names(folder.path());
    let config = every(resuming(folder.path())).with_allowed_changes(vec![Change::BatchSize]);
    let (made, watch) = steps();
    let mut second = trainer(self::config(1).with_batch_size(8).with_workers(0)).with_callback(watch);
    second = second.with_checkpoints(config.clone());
    second.fit(&Datasets::new(&train)).unwrap();
    assert_eq!(*made.borrow(), [(1, 5)], "the last eight samples");
    let mut indices = seen.lock().unwrap().clone();
    indices.sort_unstable();
    assert_eq!(indices, (0..24).collect::<Vec<_>>());
    drop(second);
    let after = names(folder.path());
    assert!(after.last() > before.last() && after.len() == 2, "{before:?}, {after:?}");
    let mut third = trainer(self::config(1).with_batch_size(8)).with_checkpoints(config);
    assert_eq!(third.fit(&Datasets::new(&train)).unwrap().epochs.len(), 1, "it resumes from the newest");
}

/// A training set whose fetch of this sample fails in the first `failures` calls that ask for it in the second epoch.
fn failing(sample: usize, failures: usize) -> impl densenet::Dataset {
    let left = AtomicUsize::new(failures);
    Changed::new(images(24, 0), move |keys, _| {
        let wants = keys.iter().any(|key| key.index == sample && key.epoch == 1);
        let fails = wants && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        match fails {
            true => Err(Error::Data(DataError::SampleUnavailable { index: sample, source: "lost for now".into() })),
            false => Ok(()),
        }
    })
}

#[test]
fn a_sample_that_cannot_be_read_loses_no_step() {
    // The last sample of the second epoch, so that the epoch's first steps are there to be lost.
    let order: &'static Mutex<Vec<usize>> = Box::leak(Box::default());
    let noted = Changed::new(images(24, 0), move |keys, _| {
        order.lock().unwrap().extend(keys.iter().filter(|key| key.epoch == 1).map(|key| key.index));
        Ok(())
    });
    let mut whole = trainer(config(3).with_workers(0));
    fit(&mut whole, &noted, &images(8, 1)).unwrap();
    let sample = *order.lock().unwrap().last().unwrap();
    for workers in [0, 2] {
        let folder = tempfile::tempdir().unwrap();
        let every = |config: CheckpointConfig| config.with_every(SaveEvery::Steps(100));
        let (made, watch) = steps();
        let first = trainer(config(3).with_workers(workers)).with_callback(watch);
        let mut first = first.with_checkpoints(every(checkpoints(folder.path())));
        let error = fit(&mut first, &failing(sample, usize::MAX), &images(8, 1)).unwrap_err();
        assert!(matches!(error, Error::Data(DataError::SampleUnavailable { .. })), "{error:?}");
        drop(first);
        assert_eq!(made.borrow().last(), Some(&(2, 2)));
        let (rest, watch) = steps();
        let mut second = trainer(config(3)).with_callback(watch).with_checkpoints(every(resuming(folder.path())));
        fit(&mut second, &images(24, 0), &images(8, 1)).unwrap();
        assert_eq!(rest.borrow().first(), Some(&(2, 3)));
        assert!(bits(second.var_store()) == bits(whole.var_store()));
    }
    // Or the read is repeated.
    let mut patient = trainer(config(3).with_retries(3));
    fit(&mut patient, &failing(sample, 2), &images(8, 1)).unwrap();
    assert!(bits(patient.var_store()) == bits(whole.var_store()));
}

#[test]
fn an_evaluation_that_fails_is_repeated_on_resume_and_no_step_is() {
    let mut whole = trainer(config(2));
    fit(&mut whole, &images(24, 0), &images(8, 1)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let nan = Changed::new(images(8, 1), |_, batch| {
        batch.values = densenet::data::Values::F32(vec![f32::NAN; batch.values.len()]);
        Ok(())
    });
    let mut first = trainer(config(2)).with_checkpoints(checkpoints(folder.path()));
    let error = fit(&mut first, &images(24, 0), &nan).unwrap_err();
    assert!(matches!(error, Error::Training(TrainingError::NonFiniteInput { samples: 0 })), "{error:?}");
    drop(first);
    let (rest, watch) = steps();
    let allowed = resuming(folder.path()).with_allowed_changes(vec![Change::TestSet]);
    let mut second = trainer(config(2)).with_callback(watch).with_checkpoints(allowed);
    fit(&mut second, &images(24, 0), &images(8, 1)).unwrap();
    assert_eq!(*rest.borrow(), [(2, 1), (2, 2), (2, 3)]);
    assert!(bits(second.var_store()) == bits(whole.var_store()));
}

#[test]
fn an_essential_callback_that_fails_ends_the_run_after_its_state_is_saved() {
    let mut whole = trainer(config(2));
    fitted(&mut whole).unwrap();
    let every = |config: CheckpointConfig| config.with_every(SaveEvery::Steps(100));
    // In the middle of an epoch, and after its evaluation.
    type Moment = fn(&Event) -> bool;
    let at: [(Moment, (usize, usize)); 2] = [
        (|event| matches!(event, Event::StepEnded { epoch: 2, step: 2, .. }), (2, 3)),
        (|event| matches!(event, Event::EpochEnded { .. }), (2, 1)),
    ];
    for (fails_at, next) in at {
        let folder = tempfile::tempdir().unwrap();
        let fails = Watch(move |event: &Event, _: &Run| match fails_at(event) {
            true => Err(Error::other("the log server does not respond")),
            false => Ok(ControlFlow::Continue(())),
        });
        let mut first = trainer(config(2)).with_callback(fails).with_checkpoints(every(checkpoints(folder.path())));
        let error = fitted(&mut first).unwrap_err();
        assert!(matches!(error, Error::Other(_)), "{error:?}");
        drop(first);
        let (rest, watch) = steps();
        let mut second = trainer(config(2)).with_callback(watch).with_checkpoints(every(resuming(folder.path())));
        let history = fitted(&mut second).unwrap();
        assert_eq!(history.epochs.iter().map(|record| record.epoch).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(rest.borrow().first(), Some(&next));
        assert!(bits(second.var_store()) == bits(whole.var_store()));
    }
}

#[test]
fn the_kept_checkpoints_of_the_best_epochs_are_those_of_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    // The validation loss goes by this script, and the best two epochs are the second and the fourth.
    let script = [5.0, 2.0, 4.0, 1.0, 3.0];
    let calls = Cell::new(0);
    let loss = move |outputs: &densenet::tch::Tensor, _: &densenet::tch::Tensor| match outputs.requires_grad() {
        true => outputs.square().mean(densenet::tch::Kind::Float),
        false => densenet::tch::Tensor::from(script[usize::saturating_sub(calls.replace(calls.get() + 1), 1).min(4)]),
    };
    let (ends, watch) = record(|event, run| matches!(event, Event::EpochEnded { .. }).then(|| bits(run.vs)));
    let config = checkpoints(folder.path()).with_every(SaveEvery::Steps(5)).with_keep_best(2, Monitor::loss());
    // Four steps per epoch, and a save after every fifth.
    let mut trainer =
        trainer(TrainConfig::new(5).with_batch_size(6)).with_loss(loss).with_callback(watch).with_checkpoints(config);
    let (train, validation) = (images(24, 0), images(6, 1));
    trainer.fit(&Datasets::new(&train).with_validation(&validation)).unwrap();
    let kept: Vec<Vec<u8>> = names(folder.path())
        .iter()
        .map(|name| fs::read(folder.path().join("checkpoints").join(name)).unwrap())
        .collect();
    for epoch in [2, 4] {
        let (_, end) = &ends.borrow()[epoch - 1][0];
        let bytes: Vec<u8> = end.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        assert!(kept.iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes)), "epoch {epoch}");
    }
}

#[cfg(feature = "report")]
#[test]
fn a_report_that_cannot_be_written_any_more_is_a_warning_and_the_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("pages");
    fs::create_dir(&pages).unwrap();
    let gone = pages.clone();
    let removes = Watch(move |event: &Event, _: &Run| {
        if let Event::StepEnded { epoch: 1, step: 1, .. } = event {
            fs::remove_dir_all(&gone).unwrap();
        }
        Ok(ControlFlow::Continue(()))
    });
    let (warnings, watch) = record(|event, _| match event {
        Event::Warning { message } => Some(message.to_string()),
        _ => None,
    });
    let report = densenet::report::Report::in_folder(&pages);
    let mut reported = trainer(config(2)).with_callback(removes).with_callback(report.clone()).with_callback(watch);
    assert_eq!(fitted(&mut reported).unwrap().epochs.len(), 2);
    assert!(warnings.borrow().len() == 1 && warnings.borrow()[0].contains("Report fails"), "{warnings:?}");
    // At the start nothing is lost yet.
    assert!(fitted(&mut trainer(config(2)).with_callback(report)).unwrap_err().is_io());
}

#[test]
fn a_stop_while_a_sample_never_comes_saves_the_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let gate: &'static (Mutex<bool>, std::sync::Condvar) = Box::leak(Box::default());
    let stuck = Changed::new(images(24, 0), move |keys, _| {
        if keys.iter().any(|key| key.index == 5 && key.epoch == 1) {
            drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
        }
        Ok(())
    });
    let every = checkpoints(folder.path()).with_every(SaveEvery::Steps(100));
    let trainer = trainer(config(3).with_workers(2)).with_checkpoints(every);
    let stop = trainer.stop_handle();
    let saved = folder.path().to_owned();
    let other = std::thread::spawn(move || {
        // The first epoch takes a fraction of this.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let before = names(&saved);
        stop.stop();
        std::thread::sleep(std::time::Duration::from_secs(2));
        let after = names(&saved);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        (before, after)
    });
    let mut trainer = trainer;
    let history = fit(&mut trainer, &stuck, &images(8, 1)).unwrap();
    let (before, after) = other.join().unwrap();
    assert_eq!(history.epochs.len(), 1);
    assert!(after.last() > before.last(), "saved while the worker waits: {before:?}, {after:?}");
}

/// A metric whose update fails once: in the first step of the second epoch, after three steps and one evaluation.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct FailsOnce;

static UPDATES: AtomicUsize = AtomicUsize::new(0);

impl Metric for FailsOnce {
    fn name(&self) -> String {
        "fails once".to_owned()
    }
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn update(&mut self, _: &BatchOutput) -> Result<()> {
        if UPDATES.fetch_add(1, Ordering::SeqCst) == 4 { Err(Error::other("no value")) } else { Ok(()) }
    }
    fn merge(&mut self, _: &Self) {}
    fn compute(&self) -> Option<f64> {
        None
    }
}

#[test]
fn after_an_error_within_an_update_only_a_checkpoint_continues_the_run() {
    let mut whole = trainer(config(3));
    fitted(&mut whole).unwrap();
    let mut without = trainer(config(3)).with_metric(FailsOnce);
    assert!(matches!(fitted(&mut without), Err(Error::Other(_))));
    assert!(matches!(fitted(&mut without), Err(Error::Training(TrainingError::IncompleteUpdate))));

    UPDATES.store(0, Ordering::SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let mut with = trainer(config(3)).with_metric(FailsOnce).with_checkpoints(checkpoints(folder.path()));
    assert!(matches!(fitted(&mut with), Err(Error::Other(_))));
    assert_eq!(fitted(&mut with).unwrap().epochs.len(), 3);
    assert!(bits(with.var_store()) == bits(whole.var_store()));
}
