//! Random conversion to gray.

use super::color::grayscale;
use super::transform::{Transform, check_gray_or_color, check_probability};
use crate::Result;
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use serde::{Deserialize, Serialize};

config! {
    /// Converts an image to gray with a probability; it keeps its three channels. Gray images stay as they are.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomGrayscale {
        /// Probability of the conversion, from 0 to 1. Default: 0.1.
        pub p: f64 => with_p,
    }
}

impl Default for RandomGrayscale {
    fn default() -> Self {
        RandomGrayscale { p: 0.1 }
    }
}

impl RandomGrayscale {
    /// Creates a conversion of a tenth of the images.
    pub fn new() -> Self {
        RandomGrayscale::default()
    }
}

impl Transform for RandomGrayscale {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_probability("probability of a conversion to gray", self.p)?;
        check_gray_or_color("image of a conversion to gray", shape[0])?;
        Ok(shape)
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        if Random::of_sample(key, position).happens(self.p) { grayscale(pixels) } else { pixels }
    }
}
