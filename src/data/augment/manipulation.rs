//! The operations among which TrivialAugment and RandAugment choose.

use super::affine::rotate;
use super::color::{brightness, contrast, saturation};
use super::grid::{Affine, AffineInterpolation};
use super::tone::{autocontrast, equalize, posterize, sharpness, solarize};
use crate::data::Pixels;

/// An operation with at most one number, its magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manipulation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Manipulation::*;

/// All operations, in the order of torchvision's tables.
pub(super) const ALL: [Manipulation; 14] = [
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

impl Manipulation {
    /// Whether the magnitude has a random sign.
    pub fn is_signed(self) -> bool {
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }

    /// Applies the operation to pixels of 1 or 3 channels.
    pub fn apply(self, pixels: Pixels, magnitude: f64, interpolation: AffineInterpolation, fill: &[u8]) -> Pixels {
        let affine = |affine: Affine| affine.apply(&pixels, interpolation, fill);
        let shear = |shear| {
            // Around the upper left corner.
            let center = [pixels.width as f64 * -0.5, pixels.height as f64 * -0.5];
            affine(Affine { shear, center, ..Affine::default() })
        };
        let degrees = magnitude.atan().to_degrees();
        match self {
            Identity => pixels,
            ShearX => shear([degrees, 0.0]),
            ShearY => shear([0.0, degrees]),
            TranslateX => affine(Affine { translate: [magnitude.trunc(), 0.0], ..Affine::default() }),
            TranslateY => affine(Affine { translate: [0.0, magnitude.trunc()], ..Affine::default() }),
            Rotate => rotate(pixels, magnitude, interpolation, fill),
            Brightness => brightness(pixels, 1.0 + magnitude),
            Color => saturation(pixels, 1.0 + magnitude),
            Contrast => contrast(pixels, 1.0 + magnitude),
            Sharpness => sharpness(pixels, 1.0 + magnitude),
            Posterize => posterize(pixels, magnitude as u32),
            Solarize => solarize(pixels, 255.0 * magnitude),
            AutoContrast => autocontrast(pixels),
            Equalize => equalize(pixels),
        }
    }
}

/// Returns number `bin` of `bins` evenly spaced numbers from `start` to `end`, in f32 as `torch.linspace` does.
pub(super) fn spaced(start: f32, end: f32, bin: usize, bins: usize) -> f64 {
    if bins == 1 {
        return f64::from(start);
    }
    let step = (end - start) / (bins - 1) as f32;
    f64::from(if bin < bins / 2 { start + step * bin as f32 } else { end - step * (bins - 1 - bin) as f32 })
}

/// Returns the bits that posterizing keeps: 8 for the first bin, and `most` fewer for the last one.
pub(super) fn bits(most: usize, bin: usize, bins: usize) -> f64 {
    if bins == 1 {
        return 8.0;
    }
    f64::from((8.0 - bin as f32 / ((bins - 1) as f64 / most as f64) as f32).round_ties_even())
}
