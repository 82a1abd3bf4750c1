//! The loader: batches of a data set, fetched by worker threads.

mod batches;
mod config;
mod epoch;
mod queue;
mod retry;
#[cfg(test)]
mod tests;

pub use config::LoaderConfig;

use super::{Batch, Dataset};
use crate::error::DataError;
use crate::{Error, Result};
use batches::Batches;
use epoch::Epoch;
use std::iter::FusedIterator;
use std::thread::Scope;

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
    /// An error, or a panic of the data set in whichever thread, comes after all batches before it; after it the iterator
    /// has ended.
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
        self.batches_until(scope, dataset, epoch, position, || false)
    }

    /// Iterates as [`batches_from`](Self::batches_from) does, but ends early, with `None` as at the end of the epoch, as
    /// soon as `is_stopped` returns true.
    ///
    /// `is_stopped` is called on the iterating thread: before each batch, and about every 50 ms while the iterator waits
    /// for one. The caller calls it too, to tell an early end from that of the epoch. An error that occurs after the
    /// stop is dropped.
    ///
    /// A worker cannot be abandoned, since it borrows the data set. Where a fetch does not return, the iterator ends all
    /// the same, so that the caller can save its state inside of the scope; the scope itself ends when the fetch
    /// returns. With 0 workers the iterating thread fetches, and `is_stopped` is not called before the fetch returns.
    ///
    /// # Errors
    ///
    /// As [`batches_from`](Self::batches_from).
    pub(crate) fn batches_until<'scope, D: Dataset + ?Sized, S: Fn() -> bool>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope D,
        epoch: u64,
        position: usize,
        is_stopped: S,
    ) -> Result<impl FusedIterator<Item = Result<Batch>> + use<'scope, D, S>> {
        let len = dataset.len();
        self.check_len(len)?;
        if position > len {
            let (value, expected) = (format!("{position} of {len} samples"), "at most the number of samples");
            return Err(Error::invalid_value("position in the epoch", value, expected));
        }
        let batches = self.batch_count(len - position);
        let epoch = Epoch::new(dataset, &self.config, epoch, position);
        Batches::start(scope, move |number| epoch.batch(number), batches, &self.config, is_stopped)
    }
}
