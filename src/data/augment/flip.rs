//! Horizontal and vertical flips.

use super::transform::{Transform, check_probability};
use crate::Result;
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use serde::{Deserialize, Serialize};

config! {
    /// Mirrors an image left to right, with a probability.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomHorizontalFlip {
        /// Probability of a flip, from 0 to 1. Default: 0.5.
        pub p: f64 => with_p,
    }
}

config! {
    /// Mirrors an image top to bottom, with a probability.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomVerticalFlip {
        /// Probability of a flip, from 0 to 1. Default: 0.5.
        pub p: f64 => with_p,
    }
}

macro_rules! flips {
    ($($type:ident $flip:ident),*) => {$(
        impl Default for $type {
            fn default() -> Self {
                $type { p: 0.5 }
            }
        }

        impl $type {
            /// Creates a flip of half of the images.
            pub fn new() -> Self {
                $type::default()
            }
        }

        impl Transform for $type {
            fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
                check_probability("probability of a flip", self.p)?;
                Ok(shape)
            }

            fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
                if Random::of_sample(key, position).happens(self.p) { $flip(pixels) } else { pixels }
            }
        }
    )*};
}

flips!(RandomHorizontalFlip horizontal, RandomVerticalFlip vertical);

/// Mirrors pixels left to right.
pub(super) fn horizontal(mut pixels: Pixels) -> Pixels {
    let channels = pixels.channels;
    for row in pixels.values.chunks_exact_mut(pixels.width * channels) {
        match channels {
            1 => row.reverse(),
            3 => row.as_chunks_mut::<3>().0.reverse(),
            _ => {
                row.reverse();
                row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
            }
        }
    }
    pixels
}

/// Mirrors pixels top to bottom.
pub(super) fn vertical(mut pixels: Pixels) -> Pixels {
    let row = pixels.width * pixels.channels;
    let half = pixels.height / 2 * row;
    let middle = pixels.values.len() - half;
    let (upper, lower) = pixels.values.split_at_mut(middle);
    upper.chunks_exact_mut(row).zip(lower.chunks_exact_mut(row).rev()).for_each(|(a, b)| a.swap_with_slice(b));
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_keep_the_channels_of_a_pixel_together() {
        for channels in [1, 2, 3, 4] {
            let values: Vec<u8> = (0..6 * channels as u8).collect();
            let pixels = Pixels { width: 2, height: 3, channels, values };
            let order = |flipped: &Pixels| {
                let firsts = flipped.values.chunks(channels).map(|pixel| pixel[0] / channels as u8);
                assert!(flipped.values.chunks(channels).all(|pixel| pixel.is_sorted()));
                firsts.collect::<Vec<_>>()
            };
            assert_eq!(order(&horizontal(pixels.clone())), [1, 0, 3, 2, 5, 4]);
            assert_eq!(order(&vertical(pixels)), [4, 5, 2, 3, 0, 1]);
        }
    }
}
