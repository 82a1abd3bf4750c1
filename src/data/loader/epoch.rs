//! Fetches and checks single batches of one epoch.

use super::LoaderConfig;
use crate::data::check::check_batch;
use crate::data::random::{Purpose, Random};
use crate::data::{Batch, Dataset, Phase, SampleKey};
use crate::error::{BatchProblem, DataError, panic_message};
use crate::{Error, Result};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One epoch of a data set, from a position on.
pub(super) struct Epoch<'a, D: ?Sized> {
    dataset: &'a D,
    /// The index of the sample at each position; `None` in the order of the data set.
    order: Option<Vec<usize>>,
    epoch: u64,
    seed: u64,
    phase: Phase,
    start: usize,
    end: usize,
    batch_size: usize,
}

impl<'a, D: Dataset + ?Sized> Epoch<'a, D> {
    pub(super) fn new(dataset: &'a D, config: &LoaderConfig, epoch: u64, start: usize) -> Self {
        let (end, seed, phase) = (dataset.len(), config.seed, config.phase);
        let order = config.shuffle.then(|| Random::new(Purpose::EpochOrder, seed, epoch).permutation(end));
        Epoch { dataset, order, epoch, seed, phase, start, end, batch_size: config.batch_size }
    }

    /// Fetches a batch by its number, which counts from the start position. A panic of the data set becomes an error.
    pub(super) fn fetch(&self, number: usize) -> Result<Batch> {
        let positions = self.positions(number);
        let (epoch, position) = (self.epoch, positions.start);
        let keys: Vec<_> = positions.map(|position| self.key(position)).collect();
        // After a panic the epoch ends; the state of the data set is then its owner's responsibility.
        let batch = catch_unwind(AssertUnwindSafe(|| {
            let batch = self.dataset.fetch(&keys)?;
            Ok(self.check(&batch, keys.len()).map(|()| batch))
        }))
        .unwrap_or_else(|panic| {
            Err(Error::Data(DataError::DatasetPanicked { epoch, position, message: panic_message(&*panic).to_owned() }))
        })?;
        batch.map_err(|problem| Error::Data(DataError::WrongBatch { epoch, position, problem }))
    }

    fn positions(&self, number: usize) -> Range<usize> {
        let first = self.start + number * self.batch_size;
        first..self.end.min(first + self.batch_size)
    }

    fn key(&self, position: usize) -> SampleKey {
        let index = self.order.as_ref().map_or(position, |order| order[position]);
        SampleKey { index, epoch: self.epoch, seed: self.seed, phase: self.phase }
    }

    /// Checks what the data set returned: a user may have written it, and a label out of range would stop a GPU with an
    /// error that does not name its cause.
    fn check(&self, batch: &Batch, expected: usize) -> Result<(), BatchProblem> {
        check_batch(batch, self.dataset.classes().len())?;
        if batch.len() != expected {
            return Err(BatchProblem::SampleCount { expected, actual: batch.len() });
        }
        if batch.sample_shape != self.dataset.sample_shape() {
            let expected = self.dataset.sample_shape().to_vec();
            return Err(BatchProblem::OtherShape { expected, actual: batch.sample_shape.clone() });
        }
        Ok(())
    }
}
