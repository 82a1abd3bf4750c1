//! TrivialAugment: one random operation of random magnitude.

use super::grid::AffineInterpolation;
use super::manipulation::{ALL, Manipulation, bits, spaced};
use super::transform::{Transform, check_fill, check_gray_or_color};
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Applies one of 14 operations at random, with a random magnitude. For images of 1 or 3 channels.
    ///
    /// With bilinear interpolation, borders are blended with the fill as by a fill of torchvision; its default is none.
    ///
    /// # Source
    ///
    /// Müller, Hutter: TrivialAugment: tuning-free yet state-of-the-art data augmentation (2021), with torchvision's
    /// wide ranges.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct TrivialAugmentWide {
        /// Number of magnitudes, 1 to 1,000. Default: 31.
        pub num_magnitude_bins: usize => with_num_magnitude_bins,
        /// The way in which pixels are computed. Default: the nearest one.
        pub interpolation: AffineInterpolation => with_interpolation,
        /// Color outside of the image: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl Default for TrivialAugmentWide {
    fn default() -> Self {
        TrivialAugmentWide { num_magnitude_bins: 31, interpolation: AffineInterpolation::Nearest, fill: vec![0] }
    }
}

impl TrivialAugmentWide {
    /// Creates the operation with the defaults of all fields.
    pub fn new() -> Self {
        TrivialAugmentWide::default()
    }

    /// Sets the color outside of the image: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        TrivialAugmentWide { fill: fill.into(), ..self }
    }
}

impl Transform for TrivialAugmentWide {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        if !(1..=1000).contains(&self.num_magnitude_bins) {
            return Err(Error::invalid_value("number of magnitudes", self.num_magnitude_bins, "1 to 1,000"));
        }
        check_gray_or_color("image of TrivialAugment", shape[0])?;
        check_fill("fill of TrivialAugment", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let manipulation = ALL[random.below(ALL.len() as u64) as usize];
        let bin = random.below(self.num_magnitude_bins as u64) as usize;
        let sign = if manipulation.is_signed() && random.happens(0.5) { -1.0 } else { 1.0 };
        let magnitude = sign * magnitude(manipulation, bin, self.num_magnitude_bins);
        manipulation.apply(pixels, magnitude, self.interpolation, &self.fill)
    }
}

/// Returns a magnitude of torchvision's table.
pub(super) fn magnitude(manipulation: Manipulation, bin: usize, bins: usize) -> f64 {
    use Manipulation::*;
    let up_to = |most| spaced(0.0, most, bin, bins);
    match manipulation {
        Identity | AutoContrast | Equalize => 0.0,
        ShearX | ShearY | Brightness | Color | Contrast | Sharpness => up_to(0.99),
        TranslateX | TranslateY => up_to(32.0),
        Rotate => up_to(135.0),
        Posterize => bits(6, bin, bins),
        Solarize => spaced(1.0, 0.0, bin, bins),
    }
}
