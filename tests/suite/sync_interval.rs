//! Steps whose results are read together: the run is the same as with one step at a time.

use crate::datasets::Changed;
use crate::small_run::{checkpoints, fit, images, net, record, resuming, trainer_of};
use crate::variables::bits;
use densenet::data::{Dataset, Values};
use densenet::error::ConfigError;
use densenet::nn::Dropout;
use densenet::train::{Event, Run, SaveEvery};
use densenet::{AdamWConfig, Error, TrainConfig, Trainer};
use std::ops::ControlFlow;

const INTERVALS: [usize; 4] = [2, 3, 7, 1000];

/// 13 steps per epoch.
fn config(interval: usize) -> TrainConfig {
    TrainConfig::new(2).with_batch_size(4).with_seed(3).with_sync_interval(interval)
}

fn train_set() -> impl Dataset {
    images(50, 1)
}

/// Everything that can be seen of a run: its end, events, history, variables and skipped steps.
fn outcome(mut trainer: Trainer<densenet::models::DenseNet>, train: &dyn Dataset) -> String {
    let (events, callback) = record(|event, run| match event {
        Event::StepEnded { epoch, step, loss, samples, learning_rate, .. } => {
            Some(format!("{epoch}.{step} of {}: {loss} {samples} {learning_rate}", run.step))
        }
        Event::StepSkipped { epoch, step, .. } => Some(format!("{epoch}.{step} skipped")),
        Event::CheckpointSaved { steps } => Some(format!("saved {steps}")),
        _ => None,
    });
    trainer = trainer.with_callback(callback);
    let result = fit(&mut trainer, train, &images(8, 2));
    let end = result.map(|history| {
        let epochs = history.epochs.iter();
        epochs.map(|epoch| format!("{:?} {:?} {}", epoch.train, epoch.test, epoch.skipped_steps)).collect::<Vec<_>>()
    });
    format!("{:?} {:?} {:?}", events.borrow(), end, bits(&trainer.into_parts().0))
}

#[test]
fn a_run_and_its_saves_are_the_same_with_every_interval() {
    let run = |interval| {
        let folder = tempfile::tempdir().unwrap();
        let net = net().with_dropout(Dropout::new(0.3));
        let checkpoints = checkpoints(folder.path()).with_every(SaveEvery::Steps(5));
        outcome(trainer_of(&net, 0.1, config(interval)).with_checkpoints(checkpoints), &train_set())
    };
    let one = run(1);
    assert!(one.contains("\"saved 5\"") && one.contains("\"saved 25\""), "{one}");
    for interval in INTERVALS {
        assert!(run(interval) == one, "{interval}");
    }
}

#[test]
fn a_run_with_adamw_that_is_stopped_and_resumed_ends_the_same_with_every_interval() {
    let trainer = |interval, folder: &std::path::Path, is_resumed| {
        let (vs, model) = crate::small_run::built(&net());
        let optimizer = AdamWConfig::new(0.01).build(&vs).unwrap();
        let checkpoints = if is_resumed { resuming(folder) } else { checkpoints(folder) };
        let checkpoints = checkpoints.with_every(SaveEvery::Steps(5));
        Trainer::new(vs, model, optimizer, config(interval)).unwrap().with_checkpoints(checkpoints)
    };
    let mut runs = Vec::new();
    for interval in [1].into_iter().chain(INTERVALS) {
        let folder = tempfile::tempdir().unwrap();
        // Stopped by a callback in the middle of an interval, and resumed.
        let first = trainer(interval, folder.path(), false);
        let stop = first.stop_handle();
        let callback = crate::small_run::Watch(move |event: &Event, _: &Run| {
            if matches!(event, Event::StepEnded { step: 8, .. }) {
                stop.stop();
            }
            Ok(ControlFlow::Continue(()))
        });
        let mut first = first.with_callback(callback);
        fit(&mut first, &train_set(), &images(8, 2)).unwrap();
        drop(first);
        let mut second = trainer(interval, folder.path(), true);
        let history = fit(&mut second, &train_set(), &images(8, 2)).unwrap();
        runs.push((history.epochs[1].train.loss(), bits(&second.into_parts().0)));
    }
    assert!(runs.iter().all(|run| *run == runs[0]));
}

#[test]
fn a_step_that_is_not_finite_fails_or_is_skipped_as_without_an_interval() {
    let train = Changed::new(train_set(), |keys, batch| {
        if let Values::U8(bytes) = &batch.values {
            let mut values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
            if let Some(row) = keys.iter().position(|key| key.index == 17) {
                values[256 * row + 5] = f32::NAN;
            }
            batch.values = Values::F32(values);
        }
        Ok(())
    });
    for skips in [false, true] {
        let run = |interval| {
            let folder = tempfile::tempdir().unwrap();
            let config = if skips { config(interval).with_skip_non_finite() } else { config(interval) };
            let trainer = trainer_of(&net(), 0.1, config).with_checkpoints(checkpoints(folder.path()));
            outcome(trainer, &train)
        };
        let one = run(1);
        assert!(one.contains(if skips { "skipped" } else { "not finite" }), "{one}");
        for interval in INTERVALS {
            assert!(run(interval) == one, "{skips}, {interval}");
        }
    }
}

#[test]
fn a_batch_that_cannot_be_read_ends_the_run_after_the_steps_before_it() {
    let train = Changed::new(train_set(), |keys, _| match keys.iter().any(|key| key.index == 17) {
        true => Err(Error::other("no such sample")),
        false => Ok(()),
    });
    let run = |interval| outcome(trainer_of(&net(), 0.1, config(interval)), &train);
    let one = run(1);
    assert!(one.contains("no such sample"), "{one}");
    for interval in INTERVALS {
        assert!(run(interval) == one, "{interval}");
    }
}

#[test]
fn an_interval_out_of_range_is_an_error() {
    for interval in [0, 1001] {
        let (vs, model) = crate::small_run::built(&net());
        let optimizer = AdamWConfig::new(0.01).build(&vs).unwrap();
        let error = Trainer::new(vs, model, optimizer, config(interval)).err().unwrap();
        assert!(matches!(error, Error::Config(ConfigError::InvalidValue { .. })), "{error}");
    }
}
