//! Augmentation: random changes of training images, with the names, defaults and arithmetic of torchvision's
//! transforms.
//!
//! An [`Augment`] is a list of operations on one image. [`Augmented`](super::Augmented) applies it to the samples of a
//! data set, in training only. Everything random is a function of the sample's [`SampleKey`] and of the operation's
//! place in the list, so that neither the number of workers nor a resume changes a sample.
//!
//! Operations work on bytes, on the loader's worker threads, before [`Preprocess`](super::Preprocess). The other way,
//! tensor operations on whole batches, was measured with a crop and a flip of 128 images of 3×32×32 on a busy machine
//! of two cores: 0.53 ms on one thread of libtorch for bytes and 0.97 ms for f32, several times as much on two threads,
//! and 0.66 ms by a worker, which runs beside the training step instead of before it.

mod affine;
mod alternating_flip;
mod border;
mod color;
mod color_jitter;
mod crop;
mod erasing;
mod flip;
#[cfg(test)]
mod golden_tests;
mod grayscale;
mod grid;
mod manipulation;
mod operation;
mod rand_augment;
#[cfg(feature = "images")]
mod resized_crop;
mod tone;
mod transform;
mod trivial_augment;

pub use affine::{RandomAffine, RandomRotation};
pub use alternating_flip::AlternatingFlip;
pub use border::PaddingMode;
pub use color_jitter::ColorJitter;
pub use crop::{RandomCrop, RandomShift};
pub use erasing::{Cutout, RandomErasing};
pub use flip::{RandomHorizontalFlip, RandomVerticalFlip};
pub use grayscale::RandomGrayscale;
pub use grid::AffineInterpolation;
pub use operation::Operation;
pub use rand_augment::RandAugment;
#[cfg(feature = "images")]
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
pub use resized_crop::RandomResizedCrop;
pub use trivial_augment::TrivialAugmentWide;

use super::{Image, Pixels, SampleKey};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A list of random operations, which are applied to an image one after the other.
///
/// # Examples
///
/// ```
/// use densenet::data::augment::{Augment, ColorJitter, RandomCrop, RandomHorizontalFlip};
/// use densenet::data::{Augmented, Dataset, SyntheticConfig};
///
/// let augment = Augment::new()
///     .with(RandomCrop::new([32, 32]).with_padding(4))
///     .with(RandomHorizontalFlip::new())
///     .with(ColorJitter::new().with_brightness(0.2).with_saturation(0.2));
/// let images = SyntheticConfig::new(100).with_sample_shape([3, 32, 32]).build()?;
/// let train = Augmented::new(images, augment)?;
/// assert_eq!(train.sample_shape(), [3, 32, 32]);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Augment {
    operations: Vec<Operation>,
}

impl Augment {
    /// Creates an augmentation without operations, which changes nothing.
    pub fn new() -> Self {
        Augment::default()
    }

    /// Creates the usual augmentation of CIFAR's images of 32×32 pixels: a random crop after padding by 4 zeros, and a
    /// random horizontal flip.
    ///
    /// # Source
    ///
    /// Huang et al.: Densely connected convolutional networks (2017), section 4.1: "mirroring/shifting".
    pub fn cifar() -> Self {
        Augment::new().with(RandomCrop::new([32, 32]).with_padding(4)).with(RandomHorizontalFlip::new())
    }

    /// Creates an augmentation of Fashion-MNIST's images of 28×28 pixels: a random shift by up to 2 pixels, and a
    /// random horizontal flip.
    pub fn fashion_mnist() -> Self {
        Augment::new().with(RandomCrop::new([28, 28]).with_padding(2)).with(RandomHorizontalFlip::new())
    }

    /// Creates the usual augmentation of ImageNet: a [`RandomResizedCrop`] to `size`, height and width in pixels, and a
    /// random horizontal flip.
    #[cfg(feature = "images")]
    #[cfg_attr(docsrs, doc(cfg(feature = "images")))]
    pub fn imagenet(size: [usize; 2]) -> Self {
        Augment::new().with(RandomResizedCrop::new(size)).with(RandomHorizontalFlip::new())
    }

    /// Adds an operation after those before.
    #[must_use]
    pub fn with(mut self, operation: impl Into<Operation>) -> Self {
        self.operations.push(operation.into());
        self
    }

    /// Returns the operations in their order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Checks all operations, and returns the shape `[C, H, W]` of what an image of this shape becomes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a field outside its range, or images
    /// that an operation does not support, such as those smaller than a crop.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::augment::{Augment, RandomCrop};
    ///
    /// let augment = Augment::new().with(RandomCrop::new([24, 24]));
    /// assert_eq!(augment.output_shape([3, 32, 32])?, [3, 24, 24]);
    /// assert!(augment.output_shape([3, 16, 16]).is_err());
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        self.operations.iter().try_fold(shape, |shape, operation| operation.transform().output_shape(shape))
    }

    /// Augments an image of bytes, as it is augmented in training for this key, whatever the key's phase.
    ///
    /// # Errors
    ///
    /// Those of [`output_shape`](Self::output_shape), and
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for an image of f32.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{Augment, Image, Phase, SampleKey, Values};
    ///
    /// let image = Image::new([3, 32, 32], Values::U8(vec![128; 3 * 32 * 32]))?;
    /// let key = SampleKey { index: 0, epoch: 0, seed: 0, phase: Phase::Train };
    /// assert_eq!(Augment::cifar().apply(&image, &key)?.shape(), [3, 32, 32]);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn apply(&self, image: &Image, key: &SampleKey) -> Result<Image> {
        let Some(bytes) = image.bytes() else { return Err(not_bytes(&image.shape())) };
        Ok(self.apply_pixels(Pixels::from_planes(image.shape(), bytes), key)?.into_image())
    }

    /// Whether the first operation is made for images of any size, all of which it gives one size.
    #[cfg(feature = "images")]
    pub(crate) fn takes_any_size(&self) -> bool {
        matches!(self.operations.first(), Some(Operation::RandomResizedCrop(_)))
    }

    /// Augments pixels of any size. Errors are those of [`output_shape`](Self::output_shape).
    pub(crate) fn apply_pixels(&self, mut pixels: Pixels, key: &SampleKey) -> Result<Pixels> {
        for (position, operation) in self.operations.iter().enumerate() {
            let transform = operation.transform();
            transform.output_shape(pixels.shape())?;
            pixels = transform.run(pixels, key, position);
        }
        Ok(pixels)
    }
}

/// Values of f32 were to be augmented.
pub(super) fn not_bytes(shape: &[usize]) -> Error {
    let expected = "bytes: augment before the conversion to f32";
    Error::invalid_value("image to augment", format!("f32 {shape:?}"), expected)
}
