//! A data set that is an array in memory.

use super::check::{check_batch, check_keys};
use super::{Batch, Dataset, SampleKey, Targets, Values};
use crate::error::DataError;
use crate::{Error, Result};
use ndarray::{Array, Array4, Dimension};
use std::fmt;
use std::sync::Arc;

/// The order of the axes of images in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`, as tensors of libtorch have it: image, channel, row, column.
    ChannelsFirst,
    /// `[N, H, W, C]`, as image libraries and TensorFlow have it: image, row, column, channel.
    ChannelsLast,
}

/// A data set of samples and targets in memory, which its clones share.
///
/// # Examples
///
/// ```
/// use densenet::data::{Batch, Dataset, InMemoryDataset, Targets, Values};
///
/// let samples = Batch::new([1, 1, 2], vec![10_u8, 20, 30, 40, 50, 60], Targets::Classes(vec![0, 1, 1]));
/// let dataset = InMemoryDataset::new(samples, &["cat", "dog"])?;
/// assert_eq!(dataset.len(), 3);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone)]
pub struct InMemoryDataset {
    shared: Arc<Shared>,
}

struct Shared {
    samples: Batch,
    classes: Vec<String>,
}

impl InMemoryDataset {
    /// Creates a data set from its `samples`, all in one batch, and the names of its `classes` in the order of their
    /// indices.
    ///
    /// `classes` is empty for a regression; for soft labels there is one name for each of a sample's target numbers.
    ///
    /// # Errors
    ///
    /// [`DataError::Samples`] where the numbers of values, samples and targets do not agree, or a class index has no
    /// name.
    pub fn new(samples: Batch, classes: &[&str]) -> Result<Self> {
        check_batch(&samples, classes.len()).map_err(|problem| Error::Data(DataError::Samples { problem }))?;
        let classes = classes.iter().map(|&name| name.to_owned()).collect();
        Ok(InMemoryDataset { shared: Arc::new(Shared { samples, classes }) })
    }

    /// Creates a data set of an array of samples `[N, …]` (`[N, C, H, W]` for images, see
    /// [`from_images`](Self::from_images) for another order) with elements u8 or f32, one
    /// class index per sample, and the names of the classes in the order of their indices.
    ///
    /// # Errors
    ///
    /// [`DataError::Samples`] where the numbers of samples and labels do not agree, or a label has no name.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{Dataset, InMemoryDataset};
    /// use densenet::ndarray::Array4;
    ///
    /// let images = Array4::<f32>::zeros([3, 1, 8, 8]);
    /// let dataset = InMemoryDataset::from_array(images, vec![0, 1, 1], &["cat", "dog"])?;
    /// assert_eq!(dataset.sample_shape(), [1, 8, 8]);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn from_array<T: Clone, D: Dimension>(samples: Array<T, D>, labels: Vec<u32>, classes: &[&str]) -> Result<Self>
    where
        Values: From<Vec<T>>,
    {
        let sample_shape: Vec<usize> = samples.shape().iter().skip(1).copied().collect();
        // In row-major order, whatever order the array has.
        let values = Values::from(samples.iter().cloned().collect::<Vec<T>>());
        InMemoryDataset::new(Batch::new(sample_shape, values, Targets::Classes(labels)), classes)
    }

    /// Creates a data set of images in an array of u8 or f32, whose axes are in this order, one class index per image,
    /// and the names of the classes in the order of their indices. The samples have their channels first.
    ///
    /// # Errors
    ///
    /// Those of [`from_array`](Self::from_array).
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{Dataset, InMemoryDataset, Layout};
    /// use densenet::ndarray::Array4;
    ///
    /// // Bytes as image libraries have them: 20 images of 32×48 pixels, the colors of each pixel together.
    /// let bytes: Vec<u8> = vec![128; 20 * 32 * 48 * 3];
    /// let images = Array4::from_shape_vec([20, 32, 48, 3], bytes).unwrap();
    /// let labels = (0..20).map(|index| index % 2).collect();
    /// let dataset = InMemoryDataset::from_images(images, Layout::ChannelsLast, labels, &["cat", "dog"])?;
    /// assert_eq!(dataset.sample_shape(), [3, 32, 48]);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn from_images<T: Clone>(images: Array4<T>, layout: Layout, labels: Vec<u32>, classes: &[&str]) -> Result<Self>
    where
        Values: From<Vec<T>>,
    {
        let images = match layout {
            Layout::ChannelsFirst => images,
            Layout::ChannelsLast => images.permuted_axes([0, 3, 1, 2]),
        };
        InMemoryDataset::from_array(images, labels, classes)
    }

    /// Returns all samples as one batch.
    pub fn samples(&self) -> &Batch {
        &self.shared.samples
    }
}

impl Dataset for InMemoryDataset {
    fn len(&self) -> usize {
        self.samples().len()
    }

    fn sample_shape(&self) -> &[usize] {
        &self.samples().sample_shape
    }

    fn classes(&self) -> &[String] {
        &self.shared.classes
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        check_keys(keys, self.len())?;
        let all = self.samples();
        let width = all.sample_shape.iter().product();
        let indices: Vec<usize> = keys.iter().map(|key| key.index).collect();
        Ok(Batch::new(all.sample_shape.clone(), all.values.select(width, &indices), all.targets.select(&indices)))
    }

    fn is_fixed(&self) -> bool {
        true
    }

    fn targets(&self) -> Result<Targets> {
        Ok(self.samples().targets.clone())
    }
}

/// Shows the sizes and the classes, not the samples.
impl fmt::Debug for InMemoryDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryDataset")
            .field("len", &self.len())
            .field("sample_shape", &self.sample_shape())
            .field("classes", &self.classes())
            .finish_non_exhaustive()
    }
}

/// Implements [`Dataset`] for types whose field `dataset` is a data set in memory.
macro_rules! in_memory_datasets {
    ($($type:ty),*) => {$(
        impl $crate::data::Dataset for $type {
            fn len(&self) -> usize {
                self.dataset.len()
            }
            fn sample_shape(&self) -> &[usize] {
                self.dataset.sample_shape()
            }
            fn classes(&self) -> &[String] {
                self.dataset.classes()
            }
            fn fetch(&self, keys: &[$crate::data::SampleKey]) -> $crate::Result<$crate::data::Batch> {
                self.dataset.fetch(keys)
            }
            fn is_fixed(&self) -> bool {
                true
            }
            fn targets(&self) -> $crate::Result<$crate::data::Targets> {
                self.dataset.targets()
            }
        }
    )*};
}
pub(super) use in_memory_datasets;
