//! Selected samples of another data set.

use super::check::check_keys;
use super::dataset::fetch_targets;
use super::{Batch, Dataset, SampleKey, Targets};
use crate::error::DataError;
use crate::{Error, Result};

/// A data set of the samples of `D` at given indices, in the given order. Classes and shapes are those of `D`.
///
/// # Examples
///
/// ```
/// use densenet::data::{Dataset, Subset, SyntheticConfig};
///
/// let first = Subset::first(SyntheticConfig::new(100).build()?, 10);
/// assert_eq!(first.len(), 10);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// Takes the samples of `dataset` at `indices`; an index may occur more than once.
    ///
    /// # Errors
    ///
    /// [`DataError::IndexOutOfRange`] for an index that `dataset` does not have.
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Self> {
        let len = dataset.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::Data(DataError::IndexOutOfRange { index, len })),
            None => Ok(Subset { dataset, indices }),
        }
    }

    /// Takes the first `len` samples, or all where there are fewer.
    pub fn first(dataset: D, len: usize) -> Self {
        let indices = (0..len.min(dataset.len())).collect();
        Subset { dataset, indices }
    }

    /// Returns the indices of the samples in the other data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn sample_shape(&self) -> &[usize] {
        self.dataset.sample_shape()
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    /// Fetches with the other data set's own indices in the keys, so that a sample's augmentation does not depend on
    /// the subset.
    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        check_keys(keys, self.len())?;
        let inner: Vec<_> = keys.iter().map(|key| SampleKey { index: self.indices[key.index], ..*key }).collect();
        let mut batch = self.dataset.fetch(&inner)?;
        for skipped in &mut batch.skipped {
            if let Some(key) = keys.iter().find(|key| self.indices[key.index] == skipped.index) {
                skipped.index = key.index;
            }
        }
        Ok(batch)
    }

    fn is_fixed(&self) -> bool {
        self.dataset.is_fixed()
    }

    fn configuration(&self) -> serde_json::Value {
        self.dataset.configuration()
    }

    fn targets(&self) -> Result<Targets> {
        Ok(fetch_targets(&self.dataset)?.select(&self.indices))
    }
}
