//! What a loader does, and starting an epoch.

use super::Batches;
use super::epoch::Epoch;
use crate::data::Dataset;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::thread::Scope;

/// In which order an epoch goes through the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Order {
    /// As they are in the data set.
    #[default]
    Sequential,
    /// In the order of [`epoch_order`](super::epoch_order), another one each epoch.
    Shuffled,
}

/// What becomes of the samples that are left when no full batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LastBatch {
    /// They are a smaller batch.
    #[default]
    Keep,
    /// They are left out in this epoch.
    Drop,
}

/// Configuration of a [`Loader`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoaderConfig {
    /// Samples in a batch, from 1 to 65,536.
    pub batch_size: usize,
    /// Default: sequential.
    pub order: Order,
    /// Default: keep.
    pub last_batch: LastBatch,
    /// Threads that fetch batches, from 0 to 256; with 0 the caller's own thread does. Default 1. The batches do not depend on it.
    pub workers: usize,
    /// Batches that may be fetched ahead, from 0 to 65,536, besides one a worker. Default 2.
    pub prefetch_batches: usize,
    /// The run's seed, which decides the shuffled order and is passed on to the data set. Default 0.
    pub seed: u64,
}

impl LoaderConfig {
    /// Batches of this many samples.
    pub fn new(batch_size: usize) -> Self {
        LoaderConfig {
            batch_size,
            order: Order::default(),
            last_batch: LastBatch::default(),
            workers: 1,
            prefetch_batches: 2,
            seed: 0,
        }
    }

    setters! {
        with_batch_size => batch_size: usize,
        with_order => order: Order,
        with_last_batch => last_batch: LastBatch,
        with_workers => workers: usize,
        with_prefetch_batches => prefetch_batches: usize,
        with_seed => seed: u64,
    }

    /// The loader.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a field outside its range.
    pub fn build(self) -> Result<Loader> {
        let invalid =
            |field, value: usize, expected| Err(Error::InvalidConfig { field, value: value.to_string(), expected });
        match &self {
            Self { batch_size: 0 | 65_537.., .. } => invalid("batch size", self.batch_size, "from 1 to 65,536"),
            Self { workers: 257.., .. } => invalid("number of workers", self.workers, "at most 256"),
            Self { prefetch_batches: 65_537.., .. } => {
                invalid("number of prefetched batches", self.prefetch_batches, "at most 65,536")
            }
            _ => Ok(Loader { config: self }),
        }
    }
}

/// Goes through a data set in batches.
///
/// What it yields is a pure function of data set, configuration and epoch, not of the number of workers. At most
/// `workers + prefetch_batches` batches are being fetched or waiting, whatever the size of the data set.
///
/// # Examples
///
/// ```
/// use densenet::data::{LoaderConfig, Order, SyntheticConfig};
///
/// let dataset = SyntheticConfig::new(100).build()?;
/// let loader = LoaderConfig::new(32).with_order(Order::Shuffled).with_workers(2).with_seed(42).build()?;
/// let sizes = std::thread::scope(|scope| {
///     loader.batches(scope, &dataset, 0)?.map(|batch| Ok(batch?.len())).collect::<densenet::Result<Vec<_>>>()
/// })?;
/// assert_eq!(sizes, [32, 32, 32, 4]);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    config: LoaderConfig,
}

impl Loader {
    /// The configuration it was built from.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The number of batches in an epoch of `len` samples.
    pub fn batch_count(&self, len: usize) -> usize {
        match self.config.last_batch {
            LastBatch::Keep => len.div_ceil(self.config.batch_size),
            LastBatch::Drop => len / self.config.batch_size,
        }
    }

    /// The distinct sizes of the batches in an epoch of `len` samples, largest first; empty where there are no batches.
    pub fn batch_sizes(&self, len: usize) -> Vec<usize> {
        let full = self.config.batch_size;
        let (has_full, rest) = (len >= full, len % full);
        let has_rest = rest > 0 && self.config.last_batch == LastBatch::Keep;
        has_full.then_some(full).into_iter().chain(has_rest.then_some(rest)).collect()
    }

    /// Whether an epoch of `len` samples has a batch.
    pub(crate) fn check_len(&self, len: usize) -> Result<()> {
        if len == 0 {
            return Err(Error::EmptyDataset);
        }
        if self.batch_count(len) == 0 {
            let value = format!("{} for {len} samples", self.config.batch_size);
            let expected = "at most the number of samples where the last batch is dropped";
            return Err(Error::InvalidConfig { field: "batch size", value, expected });
        }
        Ok(())
    }

    /// The batches of an epoch, counted from 0.
    ///
    /// The workers are threads of `scope`. They end with the epoch, with the first error, or when the iterator is dropped.
    /// (Leaking the iterator with [`std::mem::forget`] would leave them, and so the scope, waiting.)
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`], [`Error::InvalidConfig`] where the data set is smaller than a batch and the last batch is
    /// dropped, [`Error::WorkerStart`].
    pub fn batches<'scope, D: Dataset + ?Sized>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope D,
        epoch: u64,
    ) -> Result<Batches<'scope>> {
        self.batches_from(scope, dataset, epoch, 0)
    }

    /// The batches of an epoch without its first `position` samples: where a resumed run goes on.
    ///
    /// # Errors
    ///
    /// As [`batches`](Self::batches), and [`Error::InvalidConfig`] for a position behind the last sample.
    pub fn batches_from<'scope, D: Dataset + ?Sized>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope D,
        epoch: u64,
        position: usize,
    ) -> Result<Batches<'scope>> {
        let len = dataset.len();
        self.check_len(len)?;
        if position > len {
            let (value, expected) = (format!("{position} of {len} samples"), "at most the number of samples");
            return Err(Error::InvalidConfig { field: "position in the epoch", value, expected });
        }
        let batches = self.batch_count(len - position);
        let epoch = Epoch::new(dataset, &self.config, epoch, position);
        Batches::start(scope, move |number| epoch.fetch(number), batches, position, &self.config)
    }
}
