//! The batches of one epoch, each on its own.

use super::{LoaderConfig, Order};
use crate::data::check::check_batch;
use crate::data::random::{Purpose, Random};
use crate::data::{Batch, Dataset, SampleKey};
use crate::error::BatchProblem;
use crate::{Error, Result};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The shuffled order of an epoch: the indices of `len` samples, each once.
///
/// A pure function of its arguments that stays the same in all versions of this crate, on all machines.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    Random::new(Purpose::EpochOrder, seed, epoch).permutation(len)
}

/// An epoch of a data set, from a position on.
pub(super) struct Epoch<'a, D: ?Sized> {
    dataset: &'a D,
    /// None: as they are.
    order: Option<Vec<usize>>,
    epoch: u64,
    seed: u64,
    start: usize,
    end: usize,
    batch_size: usize,
}

impl<'a, D: Dataset + ?Sized> Epoch<'a, D> {
    pub(super) fn new(dataset: &'a D, config: &LoaderConfig, epoch: u64, start: usize) -> Self {
        let (end, seed) = (dataset.len(), config.seed);
        let order = match config.order {
            Order::Sequential => None,
            Order::Shuffled => Some(epoch_order(end, seed, epoch)),
        };
        Epoch { dataset, order, epoch, seed, start, end, batch_size: config.batch_size }
    }

    /// Batch `number`, counted from the start position. A panic of the data set becomes an error.
    pub(super) fn fetch(&self, number: usize) -> Result<Batch> {
        let positions = self.positions(number);
        let (epoch, position) = (self.epoch, positions.start);
        let keys: Vec<_> = positions.map(|position| self.key(position)).collect();
        // After a panic the epoch ends; what the data set's own state is worth then is for its owner to say.
        let batch = catch_unwind(AssertUnwindSafe(|| {
            let batch = self.dataset.fetch(&keys)?;
            Ok(self.check(&batch, keys.len()).map(|()| batch))
        }))
        .unwrap_or_else(|panic| Err(Error::DatasetPanicked { epoch, position, message: message(&*panic) }))?;
        batch.map_err(|problem| Error::WrongBatch { epoch, position, problem })
    }

    fn positions(&self, number: usize) -> Range<usize> {
        let first = self.start + number * self.batch_size;
        first..self.end.min(first + self.batch_size)
    }

    fn key(&self, position: usize) -> SampleKey {
        let index = self.order.as_ref().map_or(position, |order| order[position]);
        SampleKey { index, epoch: self.epoch, seed: self.seed }
    }

    /// A data set is anybody's code: a wrong label would stop a GPU without a word about its cause.
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

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}
