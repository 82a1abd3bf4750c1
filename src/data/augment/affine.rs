//! Random rotations and affine transformations.

use super::grid::{Affine, AffineInterpolation};
use super::transform::{Transform, check_fill, check_range};
use crate::Result;
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use serde::{Deserialize, Serialize};

config! {
    /// Rotates an image around its center by a random angle. Its size stays, unlike with torchvision's `expand`.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomRotation {
        /// Smallest and largest angle in degrees, counterclockwise, within −360 to 360.
        pub degrees: [f64; 2] => with_degrees,
        /// The way in which pixels are computed. Default: the nearest one.
        pub interpolation: AffineInterpolation => with_interpolation,
        /// Color outside of the image: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl RandomRotation {
    /// Creates a rotation by at most this many degrees in either direction.
    pub fn new(degrees: f64) -> Self {
        RandomRotation { degrees: [-degrees, degrees], interpolation: AffineInterpolation::Nearest, fill: vec![0] }
    }

    /// Sets the color outside of the image: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        RandomRotation { fill: fill.into(), ..self }
    }
}

impl Transform for RandomRotation {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_degrees("degrees of a rotation", self.degrees)?;
        check_fill("fill of a rotation", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let degrees = Random::of_sample(key, position).between(self.degrees);
        rotate(pixels, degrees, self.interpolation, &self.fill)
    }
}

config! {
    /// Rotates, moves, scales and shears an image at random, around its center.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomAffine {
        /// Smallest and largest angle in degrees, clockwise, within −360 to 360.
        pub degrees: [f64; 2] => with_degrees,
        /// Largest shift along the x and the y axis, as a share of width and height, 0 to 1. Default: 0.
        pub translate: [f64; 2] => with_translate,
        /// Smallest and largest scale, within 0.001 to 1000. Default: 1.
        pub scale: [f64; 2] => with_scale,
        /// Smallest and largest shear parallel to the x axis in degrees, within −89 to 89. Default: 0.
        pub shear_x: [f64; 2] => with_shear_x,
        /// Smallest and largest shear parallel to the y axis in degrees, within −89 to 89. Default: 0.
        pub shear_y: [f64; 2] => with_shear_y,
        /// The way in which pixels are computed. Default: the nearest one.
        pub interpolation: AffineInterpolation => with_interpolation,
        /// Color outside of the image: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl RandomAffine {
    /// Creates a transformation that rotates by at most this many degrees in either direction.
    pub fn new(degrees: f64) -> Self {
        RandomAffine {
            degrees: [-degrees, degrees],
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear_x: [0.0; 2],
            shear_y: [0.0; 2],
            interpolation: AffineInterpolation::Nearest,
            fill: vec![0],
        }
    }

    /// Sets the color outside of the image: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        RandomAffine { fill: fill.into(), ..self }
    }
}

impl Transform for RandomAffine {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_degrees("degrees of an affine transformation", self.degrees)?;
        for share in self.translate {
            check_range("translation of an affine transformation", [share; 2], [0.0, 1.0], "from 0 to 1")?;
        }
        check_range("scale of an affine transformation", self.scale, [0.001, 1000.0], "a range within 0.001 to 1000")?;
        for shear in [self.shear_x, self.shear_y] {
            check_range("shear of an affine transformation", shear, [-89.0, 89.0], "a range within −89 to 89")?;
        }
        check_fill("fill of an affine transformation", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let angle = random.between(self.degrees);
        let most = [self.translate[0] * pixels.width as f64, self.translate[1] * pixels.height as f64];
        let translate = most.map(|most| random.between([-most, most]).round_ties_even());
        let scale = random.between(self.scale);
        let shear = [self.shear_x, self.shear_y].map(|range| random.between(range));
        let affine = Affine { angle, translate, scale, shear, ..Affine::default() };
        affine.apply(&pixels, self.interpolation, &self.fill)
    }
}

fn check_degrees(field: &'static str, degrees: [f64; 2]) -> Result<()> {
    check_range(field, degrees, [-360.0, 360.0], "a range within −360 to 360")
}

/// Rotates pixels counterclockwise around their center.
pub(super) fn rotate(pixels: Pixels, degrees: f64, interpolation: AffineInterpolation, fill: &[u8]) -> Pixels {
    if degrees.rem_euclid(360.0) == 0.0 {
        return pixels;
    }
    Affine { angle: -degrees, ..Affine::default() }.apply(&pixels, interpolation, fill)
}
