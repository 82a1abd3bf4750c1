//! How images of any size get the size of a network's inputs: which part of them, and by which interpolation.

use super::MAX_SIDE;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How an image gets the size of the samples, whatever its own size and aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fit {
    /// It is resized until it covers the size, and what exceeds the size is cut off equally on both sides.
    #[default]
    Crop,
    /// Its shorter side is resized to this many pixels, and the size is cut out of its center: torchvision's
    /// `Resize(resize_size)` and `CenterCrop(size)`, with which most pretrained weights are evaluated.
    CenterCrop {
        /// Length of the shorter side in pixels, at least the longer side of the size, and at most 16,384; usually 256
        /// for a size of 224×224.
        resize_size: usize,
    },
    /// It is resized to the size, whatever happens to its aspect ratio: torchvision's `Resize([height, width])`.
    Stretch,
    /// It is resized until it fits into the size, and bars of this color (red, green and blue) fill the rest.
    Pad {
        /// Red, green and blue of the bars; for gray images the luma of that color.
        fill: [u8; 3],
    },
}

impl Fit {
    /// Checks that images can get this height and width.
    pub(crate) fn check(self, [height, width]: [usize; 2]) -> Result<()> {
        match self {
            Fit::CenterCrop { resize_size } if !(height.max(width)..=MAX_SIDE).contains(&resize_size) => {
                let value = format!("{resize_size} for samples of {height}×{width}");
                let expected = "at least the longer side of the size, and at most 16384";
                Err(Error::invalid_value("resize size", value, expected))
            }
            _ => Ok(()),
        }
    }
}

/// The way in which new pixels are computed from those of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear interpolation; over all pixels that a new one covers where an image becomes smaller.
    #[default]
    Bilinear,
    /// Cubic interpolation, with −0.5 as its parameter, over the pixels in the same way.
    Bicubic,
    /// Lanczos' filter of three lobes, over the pixels in the same way.
    Lanczos,
}
