//! The interface between any source of samples and the [`Loader`](super::Loader).

mod fetch;

pub(crate) use fetch::{fetch, fetch_targets};

use super::{Batch, SampleKey, Targets};
use crate::Result;
use serde_json::Value;
use std::sync::Arc;

/// A finite, indexable source of labeled samples, such as an array in memory, a file or a folder of images.
///
/// Worker threads call [`fetch`](Self::fetch), so it must not call libtorch, which would start a thread pool of its own
/// in each of them; a [`Batch`] is plain memory for that reason. What applies to whole batches (conversion, resizing,
/// normalization) belongs in [`Preprocess`](super::Preprocess), which runs as tensor operations on the training device.
///
/// # Examples
///
/// A data set that mirrors every other image in training, and none in evaluation:
///
/// ```
/// use densenet::data::{Batch, Dataset, InMemoryDataset, Phase, SampleKey, Values};
///
/// struct Mirrored(InMemoryDataset);
///
/// impl Dataset for Mirrored {
///     fn len(&self) -> usize {
///         self.0.len()
///     }
///     fn sample_shape(&self) -> &[usize] {
///         self.0.sample_shape()
///     }
///     fn classes(&self) -> &[String] {
///         self.0.classes()
///     }
///     fn fetch(&self, keys: &[SampleKey]) -> densenet::Result<Batch> {
///         let mut batch = self.0.fetch(keys)?;
///         let [channels, height, width] = [0, 1, 2].map(|axis| self.sample_shape()[axis]);
///         if let Values::U8(pixels) = &mut batch.values {
///             for (key, image) in keys.iter().zip(pixels.chunks_mut(channels * height * width)) {
///                 if key.phase == Phase::Train && (key.index as u64 + key.epoch) % 2 == 1 {
///                     image.chunks_mut(width).for_each(<[u8]>::reverse);
///                 }
///             }
///         }
///         Ok(batch)
///     }
/// }
/// ```
pub trait Dataset: Send + Sync {
    /// Returns the number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the shape of one sample, `[C, H, W]` for images.
    fn sample_shape(&self) -> &[usize];

    /// Returns the class names in the order of their indices; empty where the targets are not classes.
    fn classes(&self) -> &[String];

    /// Returns the samples of `keys` as one batch, in the order of `keys`.
    ///
    /// # Errors
    ///
    /// Any error that makes a sample unavailable, and
    /// [`DataError::IndexOutOfRange`](crate::error::DataError::IndexOutOfRange) for an index that is not below
    /// [`len`](Self::len).
    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch>;

    /// Whether a sample is the same in each epoch, with each seed and in each phase, so that it may be fetched once for a
    /// whole run ([`DataPlacement::Device`](crate::train::DataPlacement::Device)). The provided implementation says no.
    fn is_fixed(&self) -> bool {
        false
    }

    /// Returns the settings that change the samples, such as those of [`Augmented`](super::Augmented), as JSON. A run
    /// with checkpoints is resumed only with the same ones. The provided implementation returns null, for no settings.
    fn configuration(&self) -> Value {
        Value::Null
    }

    /// Returns the targets of all samples in the order of their indices, as an evaluation fetches them.
    ///
    /// A run with checkpoints compares them with those of the run that it resumes. The provided implementation fetches
    /// every sample; a data set that knows its targets without reading the samples returns them itself.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](Self::fetch), and of the provided implementation
    /// [`DataError::DatasetPanicked`](crate::error::DataError::DatasetPanicked) and
    /// [`DataError::WrongBatch`](crate::error::DataError::WrongBatch).
    fn targets(&self) -> Result<Targets> {
        fetch::targets_of_samples(self)
    }
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
            fn is_fixed(&self) -> bool {
                (**self).is_fixed()
            }
            fn configuration(&self) -> Value {
                (**self).configuration()
            }
            fn targets(&self) -> Result<Targets> {
                (**self).targets()
            }
        }
    )*};
}

forward_to_inner!(&D, Box<D>, Arc<D>);
