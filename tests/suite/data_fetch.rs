//! The one guarded way in which the crate fetches from data sets: none other exists, and a data set's faults are errors of a run.

use crate::datasets::Changed;
use crate::layers::modules;
use crate::small_run::{fit, images, trainer};
use densenet::data::{Batch, Dataset, InMemoryDataset, Phase, SampleKey, Targets};
use densenet::error::{BatchProblem, DataError};
use densenet::train::CheckpointConfig;
use densenet::{Error, Result, TrainConfig};
use std::collections::BTreeSet;

#[test]
fn samples_and_targets_are_fetched_through_the_guard_alone() {
    // The guard, and data sets that consist of others.
    let may_call = ["data::dataset", "data::dataset::fetch", "data::in_memory", "data::subset"];
    let calls =
        |code: &str| [".fetch(", ".targets()", "Dataset::fetch", "Dataset::targets"].iter().any(|c| code.contains(c));
    let found: BTreeSet<String> =
        modules().iter().filter(|(_, code)| calls(code)).map(|(path, _)| path.join("::")).collect();
    assert_eq!(found, BTreeSet::from(may_call.map(str::to_owned)));
}

/// The error of a run with checkpoints on this data set.
fn error_with_checkpoints(dataset: &dyn Dataset) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointConfig::in_folder(folder.path().join("checkpoints"));
    let mut trainer = trainer(TrainConfig::new(1).with_batch_size(8)).with_checkpoints(checkpoints);
    fit(&mut trainer, dataset, &images(8, 1)).expect_err("a faulty data set")
}

#[test]
fn a_panic_in_the_fingerprint_is_an_error_of_the_run() {
    // Without checkpoints two samples of the training set are fetched for a check, and the run has no error.
    let panics = Changed::new(images(16, 0), |keys, _| match keys[0].phase {
        Phase::Evaluation if keys.len() > 2 => panic!("no sample {} in evaluation", keys[0].index),
        _ => Ok(()),
    });
    fit(&mut trainer(TrainConfig::new(1).with_batch_size(8)), &panics, &images(8, 1)).unwrap();
    let error = error_with_checkpoints(&panics);
    assert_eq!(
        error.to_string(),
        "the data set panicked while it fetched samples 0, 1, 2 and 13 more in epoch 0: no sample 0 in evaluation"
    );
    let Error::Data(DataError::DatasetPanicked { indices, epoch: 0, .. }) = error else { panic!("{error:?}") };
    assert_eq!(indices, (0..16).collect::<Vec<_>>());
}

#[test]
fn a_wrong_batch_in_the_fingerprint_is_an_error_of_the_run() {
    let wrong = Changed::new(images(16, 0), |keys, batch: &mut Batch| {
        if keys[0].phase == Phase::Evaluation {
            batch.sample_shape = vec![1, 256];
        }
        Ok(())
    });
    let error = error_with_checkpoints(&wrong);
    let expected = BatchProblem::OtherShape { expected: vec![1, 16, 16], actual: vec![1, 256] };
    assert!(matches!(&error, Error::Data(DataError::WrongBatch { problem, .. }) if *problem == expected), "{error:?}");
}

/// A data set with targets of its own, which may be wrong.
struct OtherTargets(InMemoryDataset, fn() -> Targets);

impl Dataset for OtherTargets {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn sample_shape(&self) -> &[usize] {
        self.0.sample_shape()
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        self.0.fetch(keys)
    }
    fn targets(&self) -> Result<Targets> {
        Ok((self.1)())
    }
}

#[test]
fn targets_that_panic_or_do_not_fit_are_errors_of_the_run() {
    let error = |targets| error_with_checkpoints(&OtherTargets(images(16, 0), targets)).to_string();
    assert_eq!(
        error(|| panic!("no list of labels")),
        "the data set panicked while it fetched the targets of all samples: no list of labels"
    );
    assert_eq!(
        error(|| Targets::Classes(vec![0; 15])),
        "the data set returned a wrong batch for the targets of all samples: the batch has 15 samples, but 16 were requested"
    );
    let other_class = error(|| Targets::Classes([vec![0; 15], vec![9]].concat()));
    assert!(
        other_class.ends_with("sample 15 is of class 9, but there are only 4 classes, counted from 0"),
        "{other_class}"
    );
}
