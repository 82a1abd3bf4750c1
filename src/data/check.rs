//! Checks that samples, targets and classes fit together, for data in memory and for every batch of a data set.

use super::{Batch, SampleKey, Targets};
use crate::error::{BatchProblem, DataError};
use crate::{Error, Result};

/// Checks a batch against its own shape and the number of classes.
pub(super) fn check_batch(batch: &Batch, classes: usize) -> Result<(), BatchProblem> {
    let samples = check_targets(&batch.targets, classes)?;
    let sample_shape = || batch.sample_shape.clone();
    let width = match batch.sample_shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)) {
        None | Some(0) => return Err(BatchProblem::SampleShape { sample_shape: sample_shape() }),
        Some(width) => width,
    };
    if samples.checked_mul(width) != Some(batch.values.len()) {
        return Err(BatchProblem::ValueCount { samples, sample_shape: sample_shape(), values: batch.values.len() });
    }
    Ok(())
}

/// Checks a batch that was fetched from a data set of this sample shape and number of classes.
pub(super) fn check_fetched(
    batch: &Batch,
    expected: usize,
    sample_shape: &[usize],
    classes: usize,
) -> Result<(), BatchProblem> {
    check_batch(batch, classes)?;
    if batch.len() != expected {
        return Err(BatchProblem::SampleCount { expected, actual: batch.len() });
    }
    if batch.sample_shape != sample_shape {
        let expected = sample_shape.to_vec();
        return Err(BatchProblem::OtherShape { expected, actual: batch.sample_shape.clone() });
    }
    Ok(())
}

/// Checks targets against the number of classes, and returns the number of samples.
pub(super) fn check_targets(targets: &Targets, classes: usize) -> Result<usize, BatchProblem> {
    match targets {
        Targets::Classes(indices) => match indices.iter().position(|&class| class as usize >= classes) {
            Some(position) => Err(BatchProblem::ClassOutOfRange { position, class: indices[position], classes }),
            None => Ok(indices.len()),
        },
        Targets::Values { data, width } => {
            if *width == 0 || !data.len().is_multiple_of(*width) {
                return Err(BatchProblem::TargetWidth { numbers: data.len(), width: *width });
            }
            if classes != 0 && classes != *width {
                return Err(BatchProblem::ClassesWithoutTargets { classes, width: *width });
            }
            Ok(data.len() / width)
        }
    }
}

/// Checks that every key names one of `len` samples.
pub(crate) fn check_keys(keys: &[SampleKey], len: usize) -> Result<()> {
    match keys.iter().find(|key| key.index >= len) {
        Some(key) => Err(Error::Data(DataError::IndexOutOfRange { index: key.index, len })),
        None => Ok(()),
    }
}
