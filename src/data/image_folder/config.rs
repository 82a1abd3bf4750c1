//! The configuration of images in files.

use crate::data::image::MAX_SIDE;
use crate::data::{Alpha, Augment, Color, Fit, Interpolation};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Configuration of an [`ImageFolder`](super::ImageFolder): what becomes of an image between its file and the
    /// network.
    ///
    /// # Examples
    ///
    /// Photos for a network of ImageNet, in evaluation as torchvision prepares them: the shorter side is resized to 256
    /// pixels, of which the central 224×224 are used.
    ///
    /// ```
    /// use densenet::data::{Fit, ImageConfig};
    ///
    /// let config = ImageConfig::new().with_size([224, 224]).with_fit(Fit::CenterCrop { resize_size: 256 });
    /// ```
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct ImageConfig {
        /// Height and width of the samples in pixels, from 1 to 16,384. Default: `None`, the size of the images, which
        /// is then the same for all.
        pub size: Option<[usize; 2]>,
        /// How an image of another aspect ratio gets this size. Default: [`Fit::Crop`].
        pub fit: Fit => with_fit,
        /// How pixels are computed where an image is resized. Default: bilinear.
        pub interpolation: Interpolation => with_interpolation,
        /// The channels of the samples. Default: red, green and blue.
        pub color: Color => with_color,
        /// What becomes of transparency. Default: it is dropped.
        pub alpha: Alpha => with_alpha,
        /// Augmentation of the samples in training; evaluation never augments. One that begins with a
        /// [`RandomResizedCrop`](crate::data::augment::RandomResizedCrop) gets the images in their own size, and others
        /// get them in the size of the samples. Default: none.
        pub augment: Augment => with_augment,
        /// What happens where a file is no image, or a damaged one. Default: it is an error.
        pub bad_files: BadFilePolicy => with_bad_files,
        /// Most bytes of decoded images that are kept in memory, so that further epochs need not decode them. Images
        /// beyond it are decoded each time. Default: 0.
        pub cache_bytes: usize => with_cache_bytes [serde(skip)],
    }
}

/// What happens where a file is no image that can be read.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BadFilePolicy {
    /// It is an error: at the opening, where the beginning of a file shows it, and otherwise when the file is read.
    #[default]
    Error,
    /// At the opening the file is left out, and listed in
    /// [`ImageFolder::bad_files`](super::ImageFolder::bad_files). Where the damage is noticed later, the next readable
    /// image of the same class takes the place of the sample, and the run counts it
    /// ([`EpochRecord::skipped_samples`](crate::train::EpochRecord::skipped_samples)).
    Skip,
}

impl ImageConfig {
    /// Creates a configuration for images of one size, in color, without augmentation, that keeps none in memory.
    pub fn new() -> Self {
        ImageConfig::default()
    }

    /// Sets the height and width of the samples in pixels.
    #[must_use]
    pub fn with_size(mut self, size: [usize; 2]) -> Self {
        self.size = Some(size);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let Some([height, width]) = self.size else { return Ok(()) };
        if ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            let value = format!("{height}×{width}");
            return Err(Error::invalid_value("size of images", value, "1 to 16384 pixels a side"));
        }
        self.fit.check([height, width])
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        ImageConfig {
            size: None,
            fit: Fit::Crop,
            interpolation: Interpolation::Bilinear,
            color: Color::Rgb,
            alpha: Alpha::Drop,
            augment: Augment::new(),
            bad_files: BadFilePolicy::Error,
            cache_bytes: 0,
        }
    }
}
