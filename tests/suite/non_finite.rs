//! Values that are not finite: they never enter variables, running statistics, checkpoints or files of weights.

use crate::datasets::Changed;
use crate::small_run::{fit, images, net, record, trainer, trainer_of};
use crate::variables::bits;
use densenet::data::{InMemoryDataset, SampleKey, Values};
use densenet::error::{TrainingError, WeightsProblem};
use densenet::tch::{Kind, Tensor, nn::VarStore, no_grad};
use densenet::train::{Change, CheckpointConfig, Event, SaveEvery, SaveWeights};
use densenet::weights::save_safetensors;
use densenet::{Dataset, Error, TrainConfig};
use std::cell::Cell;
use std::fs;
use std::path::Path;

fn config(epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs).with_batch_size(8).with_workers(0)
}

fn every_step(folder: &Path) -> CheckpointConfig {
    CheckpointConfig::in_folder(folder).with_every(SaveEvery::Steps(1)).with_resume()
}

fn all_finite(vs: &VarStore) -> bool {
    vs.variables().values().all(|tensor| tensor.isfinite().all().int64_value(&[]) == 1)
}

/// The samples of a data set as numbers from 0 to 1, of which a function may change some.
fn numbers(dataset: InMemoryDataset, change: impl Fn(&[SampleKey], &mut [f32]) + Send + Sync) -> impl Dataset {
    Changed::new(dataset, move |keys, batch| {
        let Values::U8(bytes) = &batch.values else { panic!("the synthetic images are bytes") };
        let mut values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        change(keys, &mut values);
        batch.values = Values::F32(values);
        Ok(())
    })
}

/// A loss that is finite everywhere, and whose gradient is NaN in the training step with this number.
fn with_nan_gradient(step: usize) -> impl Fn(&Tensor, &Tensor) -> Tensor {
    let calls = Cell::new(0);
    move |outputs, targets| {
        calls.set(calls.get() + usize::from(outputs.requires_grad()));
        let loss = outputs.cross_entropy_for_logits(targets);
        // The derivative of the root at 0 is infinite, and times 0 it is NaN.
        if calls.get() == step { loss + (outputs - outputs.detach()).abs().sum(Kind::Float).sqrt() } else { loss }
    }
}

#[test]
fn a_gradient_that_is_not_finite_ends_the_run_before_its_update() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let (seen, watch) = record(|event, run| matches!(event, Event::StepEnded { .. }).then(|| bits(run.vs)));
    let trainer = trainer(config(2)).with_loss(with_nan_gradient(2)).with_callback(watch);
    let mut trainer = trainer.with_callback(SaveWeights::to(&file)).with_checkpoints(every_step(folder.path()));
    match fit(&mut trainer, &images(24, 0), &images(8, 1)) {
        Err(Error::Training(TrainingError::NonFiniteGradient { variable, epoch: 1, step: 2 })) => {
            assert!(!variable.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(seen.borrow().len(), 1);
    assert!(bits(trainer.var_store()) == seen.borrow()[0], "running statistics included");
    assert!(!file.exists());
}

#[test]
fn a_running_statistic_that_would_overflow_ends_the_run_and_stays_as_it_was() {
    let pixel = numbers(images(24, 0), |keys, values| {
        if let Some(row) = keys.iter().position(|key| key.index == 7 && key.epoch == 1) {
            values[256 * row] = 1e20;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(config(2)).with_checkpoints(every_step(folder.path()));
    let error = fit(&mut trainer, &pixel, &images(8, 1)).unwrap_err();
    assert!(
        matches!(&error, Error::Training(TrainingError::NonFiniteStatistic { variable, epoch: 2, .. })
        if variable.contains("running_var"))
            || error.to_string().contains("loss is"),
        "{error:?}"
    );
    assert!(all_finite(trainer.var_store()));
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_counted_where_the_policy_says_so() {
    let skipping = || config(2).with_skip_non_finite();
    let (skipped, watch) = record(|event, run| match event {
        Event::StepSkipped { epoch, step, error } => Some((*epoch, *step, error.to_string(), bits(run.vs))),
        _ => None,
    });
    let (made, steps) = record(|event, run| matches!(event, Event::StepEnded { .. }).then(|| bits(run.vs)));
    let trainer = trainer(skipping()).with_loss(with_nan_gradient(2)).with_callback(watch).with_callback(steps);
    let mut trainer = trainer;
    let history = fit(&mut trainer, &images(24, 0), &images(8, 1)).unwrap();
    assert_eq!(history.epochs.iter().map(|record| record.skipped_steps).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(history.epochs[0].train.samples, 16, "the metrics are those of the steps that were made");
    let skipped = skipped.borrow();
    let (epoch, step, error, after) = &skipped[0];
    assert_eq!((*epoch, *step, skipped.len(), made.borrow().len()), (1, 2, 1, 5));
    assert!(error.contains("gradient"), "{error}");
    assert!(*after == made.borrow()[0]);

    let nan = |outputs: &Tensor, _: &Tensor| match outputs.requires_grad() {
        true => outputs.sum(Kind::Float) * f64::NAN,
        false => outputs.sum(Kind::Float),
    };
    let mut hopeless = crate::small_run::trainer(skipping()).with_loss(nan);
    match fit(&mut hopeless, &images(24, 0), &images(8, 1)) {
        Err(Error::Training(TrainingError::NoFiniteStep { epoch: 1 })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_diverging_run_leaves_the_last_good_checkpoint_from_which_a_lower_rate_continues() {
    let folder = tempfile::tempdir().unwrap();
    // The third step sends the weights to 1e29, the fourth computes a loss from them.
    let schedule = densenet::optim::Schedule::Epochs { milestones: vec![1], gamma: 1.0 };
    let diverging = || trainer_of(&net(), 0.1, config(3).with_schedule(schedule.clone()));
    let calls = Cell::new(0);
    let explodes = move |outputs: &Tensor, targets: &Tensor| {
        calls.set(calls.get() + usize::from(outputs.requires_grad()));
        let scale = if calls.get() == 3 { 1e30 } else { 1.0 };
        let loss = outputs.cross_entropy_for_logits(targets);
        // The value of the loss, with a gradient that is 1e30 times as large.
        &loss * scale - (&loss * (scale - 1.0)).detach()
    };
    let mut first = diverging().with_loss(explodes).with_checkpoints(every_step(folder.path()));
    let error = fit(&mut first, &images(24, 0), &images(8, 1)).unwrap_err();
    assert!(matches!(error, Error::Training(_)), "{error:?}");
    drop(first);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    assert!(names.iter().any(|name| name.starts_with("diverged-")), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");
    let (resumed, watch) = record(|event, run| match event {
        Event::Resumed { epoch, step, .. } => Some((*epoch, *step, all_finite(run.vs))),
        _ => None,
    });
    let config = every_step(folder.path()).with_allowed_changes(vec![Change::Loss]);
    let mut second = diverging().with_callback(watch).with_checkpoints(config);
    assert_eq!(fit(&mut second, &images(24, 0), &images(8, 1)).unwrap().epochs.len(), 3);
    assert_eq!(*resumed.borrow(), [(1, 2, true)]);
    let largest = second.var_store().variables().values().map(|t| t.abs().max().double_value(&[])).fold(0.0, f64::max);
    assert!(largest < 1e6, "{largest}");
}

#[test]
fn weights_that_are_not_finite_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let (vs, _model) = crate::small_run::built(&net());
    save_safetensors(&vs, &file).unwrap();
    let before = fs::read(&file).unwrap();
    let bad = "features.norm5.running_var";
    no_grad(|| {
        let _ = vs.variables()[bad].get(0).fill_(f64::INFINITY);
    });
    match save_safetensors(&vs, &file) {
        Err(Error::Weights { problem: WeightsProblem::Tensor { tensor, .. }, .. }) => assert_eq!(tensor, bad),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_sample_that_is_not_finite_ends_the_run_before_its_first_step_where_it_is_seen_in_time() {
    let nan = numbers(images(24, 0), |_, values| values[0] = f32::NAN);
    let mut trainer = trainer(config(1));
    let before = bits(trainer.var_store());
    match fit(&mut trainer, &nan, &images(8, 1)) {
        Err(Error::Training(TrainingError::NonFiniteInput { samples: 0 })) => {}
        other => panic!("{other:?}"),
    }
    assert!(bits(trainer.var_store()) == before);
}

#[test]
fn the_last_good_checkpoint_stays_however_many_later_ones_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Cell::new(0);
    let nan_from_the_third_step = move |outputs: &Tensor, targets: &Tensor| {
        calls.set(calls.get() + usize::from(outputs.requires_grad()));
        let loss = outputs.cross_entropy_for_logits(targets);
        if outputs.requires_grad() && calls.get() >= 3 { loss * f64::NAN } else { loss }
    };
    let skipping = config(1).with_batch_size(4).with_skip_non_finite();
    let mut trainer = trainer(skipping).with_loss(nan_from_the_third_step).with_checkpoints(every_step(folder.path()));
    let images = images(24, 0);
    trainer.fit(&densenet::Datasets::new(&images)).unwrap();
    drop(trainer);
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name.starts_with("checkpoint-")).collect();
    names.sort();
    // The first save was followed by a finite loss, the second one by none.
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "checkpoint-000000001.safetensors");
}

#[test]
fn variables_that_overflow_in_an_update_are_in_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // The gradient is finite, and its product with the learning rate is not.
    let steep = |outputs: &Tensor, targets: &Tensor| outputs.cross_entropy_for_logits(targets) * 1e10;
    let mut trainer = trainer_of(&net(), 1e38, config(1)).with_loss(steep).with_checkpoints(every_step(folder.path()));
    match fit(&mut trainer, &images(24, 0), &images(8, 1)) {
        Err(Error::Training(TrainingError::NonFiniteVariable { variable })) => {
            assert!(variable.starts_with("model."), "{variable}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!all_finite(trainer.var_store()), "or this test would say nothing");
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(entries.filter(|name| name.ends_with(".safetensors")).count(), 0);
}

#[test]
fn after_an_epoch_of_skipped_steps_alone_a_resumed_run_continues_from_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Cell::new(0);
    let nan_in_the_second_epoch = move |outputs: &Tensor, targets: &Tensor| {
        calls.set(calls.get() + usize::from(outputs.requires_grad()));
        let loss = outputs.cross_entropy_for_logits(targets);
        if outputs.requires_grad() && calls.get() > 3 { loss * f64::NAN } else { loss }
    };
    let skipping = || trainer(config(3).with_skip_non_finite());
    let mut first = skipping().with_loss(nan_in_the_second_epoch).with_checkpoints(every_step(folder.path()));
    match fit(&mut first, &images(24, 0), &images(8, 1)) {
        Err(Error::Training(TrainingError::NoFiniteStep { epoch: 2 })) => {}
        other => panic!("{other:?}"),
    }
    drop(first);
    let config = every_step(folder.path()).with_allowed_changes(vec![Change::Loss]);
    let mut second = skipping().with_checkpoints(config);
    let history = fit(&mut second, &images(24, 0), &images(8, 1)).unwrap();
    assert_eq!(history.epochs.iter().map(|record| record.skipped_steps).collect::<Vec<_>>(), [0, 0, 0]);
}
