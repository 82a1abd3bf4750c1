//! The configuration of a loader.

use super::Loader;
use crate::data::Phase;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

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
        /// Number of times that fetching a batch is repeated after the data set returned an error, after pauses of 0.1 s,
        /// 0.2 s, 0.4 s, … of at most 5 s each. Where that does not help, the last error is returned. A panic or a wrong
        /// batch is never repeated. Default: 0.
        pub retries: usize => with_retries,
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
            retries: 0,
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
