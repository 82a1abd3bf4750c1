//! The configuration of a loader, and the start of an epoch.

use super::batches::Batches;
use super::epoch::Epoch;
use crate::data::{Batch, Dataset, Phase};
use crate::error::DataError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::iter::FusedIterator;
use std::thread::Scope;

config! {
    /// Configuration of a [`Loader`].
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{LoaderConfig, Phase};
    ///
    /// let training = LoaderConfig::new(128)                 // samples per batch
    ///     .with_shuffle()
    ///     .with_drop_last()
    ///     .with_workers(4)
    ///     .with_seed(42)
    ///     .build()?;
    /// let evaluation = LoaderConfig::new(128).with_phase(Phase::Evaluation).build()?;
    /// assert_eq!((training.batch_count(1000), evaluation.batch_count(1000)), (7, 8));
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct LoaderConfig {
        /// Samples per batch, from 1 to 65,536.
        pub batch_size: usize,
        /// Whether the order of samples is random.
        pub(super) shuffle: bool,
        /// Whether the last samples are left out where they do not fill a batch.
        pub(super) drop_last: bool,
        /// Number of worker threads that prefetch batches, from 0 to 256; with 0 the caller's own thread fetches them.
        /// The batches do not depend on it. Default: 1.
        pub workers: usize => with_workers,
        /// Number of batches that may wait ready, from 0 to 65,536, besides the one that each worker is fetching.
        /// Default: 2.
        pub prefetch_batches: usize => with_prefetch_batches,
        /// The seed of the run, which decides the shuffled order and is passed on to the data set. Default: 0.
        pub seed: u64 => with_seed,
        /// Phase that the samples are for, which is passed on to the data set. Default: training.
        pub phase: Phase => with_phase,
    }
}

impl LoaderConfig {
    /// Creates a configuration for batches of `batch_size` samples.
    pub fn new(batch_size: usize) -> Self {
        LoaderConfig {
            batch_size,
            shuffle: false,
            drop_last: false,
            workers: 1,
            prefetch_batches: 2,
            seed: 0,
            phase: Phase::default(),
        }
    }

    /// Goes through the samples in a random order, another one in each epoch: a pure function of the number of samples,
    /// the seed and the epoch that stays the same in all versions of this crate and on all machines. Default: the order
    /// of the data set.
    #[must_use]
    pub fn with_shuffle(self) -> Self {
        LoaderConfig { shuffle: true, ..self }
    }

    /// Leaves out the last samples of an epoch where they do not fill a batch. Default: they form a smaller batch.
    #[must_use]
    pub fn with_drop_last(self) -> Self {
        LoaderConfig { drop_last: true, ..self }
    }

    /// Checks the configuration and builds the loader.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a field outside its range.
    pub fn build(self) -> Result<Loader> {
        let invalid = |field, value: usize, expected| Err(Error::invalid_value(field, value, expected));
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

/// Iterates over a data set in batches, which worker threads prefetch.
///
/// The batches are a pure function of data set, configuration and epoch, not of the number of workers. At most
/// `workers + prefetch_batches` batches are being fetched or waiting, whatever the size of the data set.
///
/// # Examples
///
/// ```
/// use densenet::data::{LoaderConfig, SyntheticConfig};
///
/// let dataset = SyntheticConfig::new(100).build()?;
/// let loader = LoaderConfig::new(32).with_shuffle().with_workers(2).build()?;
/// std::thread::scope(|scope| {
///     let mut sizes = Vec::new();
///     for batch in loader.batches(scope, &dataset, 0)? {
///         sizes.push(batch?.len());
///     }
///     assert_eq!(sizes, [32, 32, 32, 4]);
///     Ok::<(), densenet::Error>(())
/// })?;
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    config: LoaderConfig,
}

impl Loader {
    /// Returns the configuration that the loader was built from.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Returns the number of batches in an epoch of `len` samples.
    pub fn batch_count(&self, len: usize) -> usize {
        match self.config.drop_last {
            false => len.div_ceil(self.config.batch_size),
            true => len / self.config.batch_size,
        }
    }

    /// Returns the distinct sizes of the batches in an epoch of `len` samples, largest first; empty where there are no
    /// batches.
    pub fn batch_sizes(&self, len: usize) -> Vec<usize> {
        let full = self.config.batch_size;
        let (has_full, rest) = (len >= full, len % full);
        let has_rest = rest > 0 && !self.config.drop_last;
        has_full.then_some(full).into_iter().chain(has_rest.then_some(rest)).collect()
    }

    /// Checks that an epoch of `len` samples has at least one batch.
    pub(crate) fn check_len(&self, len: usize) -> Result<()> {
        if len == 0 {
            return Err(Error::Data(DataError::EmptyDataset));
        }
        if self.batch_count(len) == 0 {
            let value = format!("{} for {len} samples", self.config.batch_size);
            let expected = "at most the number of samples where the last batch is dropped";
            return Err(Error::invalid_value("batch size", value, expected));
        }
        Ok(())
    }

    /// Iterates over the batches of an epoch, which is counted from 0.
    ///
    /// The workers are threads of `scope`. They end with the epoch, with the first error, or when the iterator is
    /// dropped. (Leaking the iterator with [`std::mem::forget`] would leave them, and so the scope, waiting.)
    ///
    /// An error, or a panic of the data set in whichever thread, is the next item, before batches that are ready; after
    /// it the iterator has ended.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptyDataset`], [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) where the
    /// data set is smaller than a batch and the last batch is dropped, [`DataError::WorkerStart`].
    pub fn batches<'scope, D: Dataset + ?Sized>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope D,
        epoch: u64,
    ) -> Result<impl FusedIterator<Item = Result<Batch>> + use<'scope, D>> {
        self.batches_from(scope, dataset, epoch, 0)
    }

    /// Iterates over the batches of an epoch without its first `position` samples, as a resumed run needs it.
    ///
    /// # Errors
    ///
    /// As [`batches`](Self::batches), and [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a
    /// position behind the last sample.
    pub fn batches_from<'scope, D: Dataset + ?Sized>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope D,
        epoch: u64,
        position: usize,
    ) -> Result<impl FusedIterator<Item = Result<Batch>> + use<'scope, D>> {
        let len = dataset.len();
        self.check_len(len)?;
        if position > len {
            let (value, expected) = (format!("{position} of {len} samples"), "at most the number of samples");
            return Err(Error::invalid_value("position in the epoch", value, expected));
        }
        let batches = self.batch_count(len - position);
        let epoch = Epoch::new(dataset, &self.config, epoch, position);
        Batches::start(scope, move |number| epoch.fetch(number), batches, &self.config)
    }
}
