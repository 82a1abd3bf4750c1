//! What a data set is: the seam between any source of samples and the [`Loader`](super::Loader).

use super::Batch;
use crate::Result;
use std::sync::Arc;

/// Which sample is wanted, and everything its random augmentation may depend on.
///
/// Augmentation that is a pure function of this key gives the same samples with any number of workers and after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// Position in the data set, from 0.
    pub index: usize,
    /// The epoch that asks, from 0; evaluation always asks with 0.
    pub epoch: u64,
    /// The run's seed.
    pub seed: u64,
}

/// A finite, indexable source of labeled samples: an array in memory, a folder of images, a file.
///
/// `fetch` is called from worker threads, so it must not call libtorch (each thread would raise its own OpenMP team); a
/// [`Batch`] is plain memory for that reason. What works on a whole batch (conversion, resizing, normalization) belongs in
/// [`Preprocess`](super::Preprocess), which runs as tensor operations on the training device.
pub trait Dataset: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one sample, `[C, H, W]` for images.
    fn sample_shape(&self) -> &[usize];

    /// The class names in the order of their indices; empty where the targets are not classes.
    fn classes(&self) -> &[String];

    /// The samples of `keys` as one batch, in the order of `keys`.
    ///
    /// # Errors
    ///
    /// Whatever made a sample unavailable, and [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) for an index that
    /// is not below [`len`](Self::len).
    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch>;
}

macro_rules! forward_to_inner {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            fn len(&self) -> usize {
                (**self).len()
            }
            fn sample_shape(&self) -> &[usize] {
                (**self).sample_shape()
            }
            fn classes(&self) -> &[String] {
                (**self).classes()
            }
            fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
                (**self).fetch(keys)
            }
        }
    )*};
}

forward_to_inner!(&D, Box<D>, Arc<D>);
