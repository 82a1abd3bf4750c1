//! Fetches the single batches of one epoch.

use super::LoaderConfig;
use crate::Result;
use crate::data::random::{Purpose, Random};
use crate::data::{Batch, Dataset, Phase, SampleKey, fetch};
use std::ops::Range;

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

    /// Fetches a batch by its number, which counts from the start position.
    pub(super) fn batch(&self, number: usize) -> Result<Batch> {
        let keys: Vec<_> = self.positions(number).map(|position| self.key(position)).collect();
        fetch(self.dataset, &keys)
    }

    fn positions(&self, number: usize) -> Range<usize> {
        let first = self.start + number * self.batch_size;
        first..self.end.min(first + self.batch_size)
    }

    fn key(&self, position: usize) -> SampleKey {
        let index = self.order.as_ref().map_or(position, |order| order[position]);
        SampleKey { index, epoch: self.epoch, seed: self.seed, phase: self.phase }
    }
}
