//! The guarded access to data sets, through which the whole crate gets samples and targets.
//!
//! Whoever wrote a data set, its panics become errors here, and what it returns is checked: a label out of range would
//! stop a GPU with an error that does not name its cause.

use super::Dataset;
use crate::data::check::{check_fetched, check_targets};
use crate::data::{Batch, SampleKey, Targets};
use crate::error::{BatchProblem, DataError, panic_message};
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Number of samples that are fetched at a time where only their targets are needed.
const CHUNK: usize = 64;

/// Fetches the samples of `keys` as one batch and checks it.
///
/// # Errors
///
/// The data set's own; [`DataError::DatasetPanicked`]; [`DataError::WrongBatch`] for a batch that does not have as many
/// samples as there are keys, or not the shape or the classes that the data set declares.
pub(crate) fn fetch<D: Dataset + ?Sized>(dataset: &D, keys: &[SampleKey]) -> Result<Batch> {
    guarded(keys, || {
        let batch = dataset.fetch(keys)?;
        let checked = check_fetched(&batch, keys.len(), dataset.sample_shape(), dataset.classes().len());
        Ok(checked.map(|()| batch))
    })
}

/// Returns the targets of all samples and checks them.
///
/// # Errors
///
/// The data set's own; [`DataError::DatasetPanicked`]; [`DataError::WrongBatch`] for targets that are not one per
/// sample or not of its classes.
pub(crate) fn fetch_targets<D: Dataset + ?Sized>(dataset: &D) -> Result<Targets> {
    guarded(&[], || {
        let (targets, expected) = (dataset.targets()?, dataset.len());
        let checked = check_targets(&targets, dataset.classes().len()).and_then(|actual| match actual == expected {
            true => Ok(()),
            false => Err(BatchProblem::SampleCount { expected, actual }),
        });
        Ok(checked.map(|()| targets))
    })
}

/// Fetches all samples for their targets: what [`Dataset::targets`] does where a data set does not implement it.
pub(super) fn targets_of_samples<D: Dataset + ?Sized>(dataset: &D) -> Result<Targets> {
    let len = dataset.len();
    let mut all: Option<Targets> = None;
    for start in (0..len).step_by(CHUNK) {
        let keys: Vec<_> = (start..len.min(start.saturating_add(CHUNK))).map(SampleKey::for_evaluation).collect();
        let targets = fetch(dataset, &keys)?.targets;
        match &mut all {
            None => all = Some(targets),
            Some(all) => all.append(targets).map_err(|problem| wrong_batch(&keys, problem))?,
        }
    }
    Ok(all.unwrap_or_else(|| Targets::Classes(Vec::new())))
}

/// Calls a data set. Its panic and a problem with what it returned become errors that name the keys; no keys stand for
/// the targets of all samples.
fn guarded<T>(keys: &[SampleKey], call: impl FnOnce() -> Result<Result<T, BatchProblem>>) -> Result<T> {
    // The run ends or repeats nothing after a panic; the state of the data set is then its owner's responsibility.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result?.map_err(|problem| wrong_batch(keys, problem)),
        Err(panic) => {
            let ((indices, epoch), message) = (samples(keys), panic_message(&*panic).to_owned());
            Err(Error::Data(DataError::DatasetPanicked { indices, epoch, message }))
        }
    }
}

fn wrong_batch(keys: &[SampleKey], problem: BatchProblem) -> Error {
    let (indices, epoch) = samples(keys);
    Error::Data(DataError::WrongBatch { indices, epoch, problem })
}

/// Returns the indices and the epoch of keys, which have one epoch in common.
fn samples(keys: &[SampleKey]) -> (Vec<usize>, u64) {
    (keys.iter().map(|key| key.index).collect(), keys.first().map_or(0, |key| key.epoch))
}
