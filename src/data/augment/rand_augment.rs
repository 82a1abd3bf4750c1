//! RandAugment: several random operations of one magnitude.

use super::grid::AffineInterpolation;
use super::manipulation::{ALL, Manipulation, bits, spaced};
use super::transform::{Transform, check_fill, check_gray_or_color};
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Applies some of 14 operations at random, one after the other, all with one magnitude. For images of 1 or 3
    /// channels.
    ///
    /// With bilinear interpolation, borders are blended with the fill as by a fill of torchvision; its default is none.
    ///
    /// # Source
    ///
    /// Cubuk et al.: RandAugment: practical automated data augmentation with a reduced search space (2019), with
    /// torchvision's ranges.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandAugment {
        /// Number of operations per image, at most 100. Default: 2.
        pub num_ops: usize => with_num_ops,
        /// Magnitude of all operations, from 0 to below the number of magnitudes. Default: 9.
        pub magnitude: usize => with_magnitude,
        /// Number of magnitudes, 1 to 1,000. Default: 31.
        pub num_magnitude_bins: usize => with_num_magnitude_bins,
        /// The way in which pixels are computed. Default: the nearest one.
        pub interpolation: AffineInterpolation => with_interpolation,
        /// Color outside of the image: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl Default for RandAugment {
    fn default() -> Self {
        let interpolation = AffineInterpolation::Nearest;
        RandAugment { num_ops: 2, magnitude: 9, num_magnitude_bins: 31, interpolation, fill: vec![0] }
    }
}

impl RandAugment {
    /// Creates the operation with the defaults of all fields.
    pub fn new() -> Self {
        RandAugment::default()
    }

    /// Sets the color outside of the image: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        RandAugment { fill: fill.into(), ..self }
    }
}

impl Transform for RandAugment {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        if self.num_ops > 100 {
            return Err(Error::invalid_value("number of operations of RandAugment", self.num_ops, "at most 100"));
        }
        if !(1..=1000).contains(&self.num_magnitude_bins) {
            return Err(Error::invalid_value("number of magnitudes", self.num_magnitude_bins, "1 to 1,000"));
        }
        if self.magnitude >= self.num_magnitude_bins {
            let value = format!("{} of {}", self.magnitude, self.num_magnitude_bins);
            return Err(Error::invalid_value("magnitude of RandAugment", value, "below the number of magnitudes"));
        }
        check_gray_or_color("image of RandAugment", shape[0])?;
        check_fill("fill of RandAugment", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, mut pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        for _ in 0..self.num_ops {
            let manipulation = ALL[random.below(ALL.len() as u64) as usize];
            let sign = if manipulation.is_signed() && random.happens(0.5) { -1.0 } else { 1.0 };
            let size = [pixels.height, pixels.width];
            let magnitude = sign * magnitude(manipulation, self.magnitude, self.num_magnitude_bins, size);
            pixels = manipulation.apply(pixels, magnitude, self.interpolation, &self.fill);
        }
        pixels
    }
}

/// Returns a magnitude of torchvision's table, for an image of this height and width.
pub(super) fn magnitude(manipulation: Manipulation, bin: usize, bins: usize, [height, width]: [usize; 2]) -> f64 {
    use Manipulation::*;
    let up_to = |most| spaced(0.0, most, bin, bins);
    let share_of = |side: usize| up_to((150.0 / 331.0 * side as f64) as f32);
    match manipulation {
        Identity | AutoContrast | Equalize => 0.0,
        ShearX | ShearY => up_to(0.3),
        TranslateX => share_of(width),
        TranslateY => share_of(height),
        Rotate => up_to(30.0),
        Brightness | Color | Contrast | Sharpness => up_to(0.9),
        Posterize => bits(4, bin, bins),
        Solarize => spaced(1.0, 0.0, bin, bins),
    }
}
