//! How images of any size and aspect ratio get the size of the samples.

use crate::data::image::MAX_SIDE;
use crate::data::{Interpolation, Pixels, Rectangle};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How an image gets the size of the samples, whatever its own size and aspect ratio.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
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
    pub(super) fn check(self, [height, width]: [usize; 2]) -> Result<()> {
        match self {
            Fit::CenterCrop { resize_size } if !(height.max(width)..=MAX_SIDE).contains(&resize_size) => {
                let value = format!("{resize_size} for samples of {height}×{width}");
                let expected = "at least the longer side of the size, and at most 16384";
                Err(Error::invalid_value("resize size", value, expected))
            }
            _ => Ok(()),
        }
    }

    /// Gives an image this height and width.
    pub(super) fn apply(self, pixels: Pixels, size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let [height, width] = size;
        if [pixels.height, pixels.width] == size && !matches!(self, Fit::CenterCrop { .. }) {
            return pixels;
        }
        let (old_height, old_width) = (pixels.height as f64, pixels.width as f64);
        let scaled = |scale: f64, least: [usize; 2], most: [usize; 2]| {
            [(old_height * scale, 0), (old_width * scale, 1)]
                .map(|(side, axis)| (side.round() as usize).clamp(least[axis], most[axis]))
        };
        match self {
            Fit::Stretch => pixels.resize(size, interpolation),
            Fit::Crop => {
                let scale = (height as f64 / old_height).max(width as f64 / old_width);
                pixels.resize_center(scaled(scale, size, [usize::MAX; 2]), size, interpolation)
            }
            Fit::CenterCrop { resize_size } => {
                // The longer side is cut to whole pixels, as by torchvision.
                let longer = |side: usize, shorter: usize| (resize_size * side / shorter).max(resize_size);
                let resized = match pixels.height <= pixels.width {
                    true => [resize_size, longer(pixels.width, pixels.height)],
                    false => [longer(pixels.height, pixels.width), resize_size],
                };
                pixels.resize_center(resized, size, interpolation)
            }
            Fit::Pad { fill } => {
                let scale = (height as f64 / old_height).min(width as f64 / old_width);
                let resized = pixels.resize(scaled(scale, [1, 1], size), interpolation);
                let mut padded = Pixels::filled(width, height, &color(fill, pixels.channels));
                padded.paste(&resized, (width - resized.width) / 2, (height - resized.height) / 2);
                padded
            }
        }
    }
}

/// Returns a color in the channels of an image.
fn color(fill: [u8; 3], channels: usize) -> Vec<u8> {
    if channels == 3 { fill.to_vec() } else { vec![crate::data::image::luma(fill); channels] }
}

impl Pixels {
    /// Resizes to `resized` and cuts `size` out of the center, where torchvision cuts it: a rest of half a pixel is
    /// rounded to an even number.
    fn resize_center(&self, resized: [usize; 2], size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let [top, left] = [0, 1].map(|axis| ((resized[axis] - size[axis]) as f64 / 2.0).round_ties_even() as usize);
        let part = Rectangle { left, top, width: size[1], height: size[0] };
        self.resize_to_part(resized, part, interpolation)
    }

    /// Copies `other` to a place within the pixels.
    fn paste(&mut self, other: &Pixels, left: usize, top: usize) {
        let length = other.width * other.channels;
        for (row, values) in other.values.chunks_exact(length).enumerate() {
            let start = ((top + row) * self.width + left) * self.channels;
            self.values[start..start + length].copy_from_slice(values);
        }
    }
}
