//! Random crops of a padded image, and shifts.

use super::border::{PaddingMode, Window, crop};
use super::transform::{Transform, check_fill, check_sides};
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Cuts a rectangle of a fixed size out of an image at a random place, after padding.
    ///
    /// The padding is the same at all four borders. In torchvision the reflected padding has to be smaller than the
    /// image; here the reflection continues.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomCrop {
        /// Height and width of the crop in pixels, 1 to 16,384.
        pub size: [usize; 2],
        /// Number of pixels that are added at each border before, 0 to 16,384. Default: 0.
        pub padding: usize => with_padding,
        /// Whether an image that is too small is padded to the size.
        pub(crate) pad_if_needed: bool,
        /// The pixels of the padding. Default: [`PaddingMode::Constant`].
        pub padding_mode: PaddingMode => with_padding_mode,
        /// Color of a constant padding: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl RandomCrop {
    /// Creates a crop of this height and width in pixels, without padding.
    pub fn new(size: [usize; 2]) -> Self {
        let padding_mode = PaddingMode::default();
        RandomCrop { size, padding: 0, pad_if_needed: false, padding_mode, fill: vec![0] }
    }

    /// Pads an image whose height or width is smaller than that of the crop by the difference, at both borders.
    /// Default: such an image is an error.
    #[must_use]
    pub fn with_pad_if_needed(self) -> Self {
        RandomCrop { pad_if_needed: true, ..self }
    }

    /// Sets the color of a constant padding: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        RandomCrop { fill: fill.into(), ..self }
    }

    /// Returns the padding at either border along a side of an image.
    fn padding_of(&self, side: usize, size: usize) -> usize {
        let missing = size.saturating_sub(side + 2 * self.padding);
        if self.pad_if_needed { self.padding + missing } else { self.padding }
    }
}

impl Transform for RandomCrop {
    fn output_shape(&self, [channels, height, width]: [usize; 3]) -> Result<[usize; 3]> {
        check_sides("size of a crop", self.size, 1)?;
        check_sides("padding of a crop", [self.padding; 2], 0)?;
        check_fill("fill of a crop", &self.fill, channels)?;
        let padded = |side, size| side + 2 * self.padding_of(side, size);
        let [crop_height, crop_width] = self.size;
        if padded(height, crop_height) < crop_height || padded(width, crop_width) < crop_width {
            let value = format!("{crop_height}×{crop_width} from {height}×{width} padded by {}", self.padding);
            return Err(Error::invalid_value("size of a crop", value, "at most that of the padded image"));
        }
        Ok([channels, crop_height, crop_width])
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let mut start = |side, size| {
            let padding = self.padding_of(side, size);
            random.below((side + 2 * padding - size) as u64 + 1) as isize - padding as isize
        };
        let [height, width] = self.size;
        let (top, left) = (start(pixels.height, height), start(pixels.width, width));
        crop(&pixels, Window { top, left, height, width }, self.padding_mode, &self.fill)
    }
}

config! {
    /// Moves an image by a random number of pixels along each axis. Equal to a [`RandomCrop`] of the image's own size
    /// with this padding, for images of any size.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomShift {
        /// Largest shift in pixels in each direction, 0 to 16,384.
        pub max_shift: usize,
        /// The pixels that come in from outside. Default: [`PaddingMode::Constant`].
        pub padding_mode: PaddingMode => with_padding_mode,
        /// Color of a constant padding: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl RandomShift {
    /// Creates a shift by at most `max_shift` pixels, with zeros from outside.
    pub fn new(max_shift: usize) -> Self {
        RandomShift { max_shift, padding_mode: PaddingMode::default(), fill: vec![0] }
    }

    /// Sets the color of a constant padding: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        RandomShift { fill: fill.into(), ..self }
    }
}

impl Transform for RandomShift {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_sides("largest shift", [self.max_shift; 2], 0)?;
        check_fill("fill of a shift", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let mut shift = || random.below(2 * self.max_shift as u64 + 1) as isize - self.max_shift as isize;
        let (top, left) = (shift(), shift());
        let Pixels { width, height, .. } = pixels;
        crop(&pixels, Window { top, left, height, width }, self.padding_mode, &self.fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Phase;

    #[test]
    fn a_shift_is_a_crop_of_the_padded_image() {
        let pixels = Pixels { width: 5, height: 4, channels: 3, values: (0..60).collect() };
        for index in 0..50 {
            let key = SampleKey { index, epoch: 0, seed: 0, phase: Phase::Train };
            let shifted = RandomShift::new(2).with_fill([7]).run(pixels.clone(), &key, 0);
            let cropped = RandomCrop::new([4, 5]).with_padding(2).with_fill([7]).run(pixels.clone(), &key, 0);
            assert_eq!(shifted, cropped);
        }
    }
}
