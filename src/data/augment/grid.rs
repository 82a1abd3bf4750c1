//! Affine transformations of pixels, with the grid of torchvision.

use super::transform::fill_of;
use crate::data::Pixels;
use serde::{Deserialize, Serialize};

/// The way in which a rotated or sheared image takes its pixels from the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AffineInterpolation {
    /// The nearest pixel.
    #[default]
    Nearest,
    /// Linear interpolation of the four pixels around.
    Bilinear,
}

/// An affine transformation, by torchvision's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    /// Clockwise rotation in degrees.
    pub angle: f64,
    /// Shift to the right and down in pixels.
    pub translate: [f64; 2],
    pub scale: f64,
    /// Shear parallel to the x and the y axis in degrees.
    pub shear: [f64; 2],
    /// The point that stays, in pixels right of and below the image's center.
    pub center: [f64; 2],
}

impl Default for Affine {
    fn default() -> Self {
        Affine { angle: 0.0, translate: [0.0; 2], scale: 1.0, shear: [0.0; 2], center: [0.0; 2] }
    }
}

impl Affine {
    /// Returns the inverse matrix, row by row: from places in the result to places in the image, both relative to their
    /// centers.
    fn inverse(&self) -> [f64; 6] {
        let Affine { translate: [tx, ty], scale, center: [cx, cy], .. } = *self;
        let angle = self.angle.to_radians();
        let [shear_x, shear_y] = self.shear.map(f64::to_radians);
        let a = (angle - shear_y).cos() / shear_y.cos();
        let b = -(a * shear_x.tan() + angle.sin());
        let c = (angle - shear_y).sin() / shear_y.cos();
        let d = angle.cos() - c * shear_x.tan();
        let [m0, m1, m3, m4] = [d / scale, -b / scale, -c / scale, a / scale];
        let [x, y] = [cx + tx, cy + ty];
        [m0, m1, cx - m0 * x - m1 * y, m3, m4, cy - m3 * x - m4 * y]
    }

    /// Transforms pixels; `fill` is the color outside of the image.
    ///
    /// All steps are those of torchvision's `affine` on tensors of bytes, in f32. With bilinear interpolation pixels
    /// outside count as 0 before the fill is blended in, so that a border pixel counts by the square of its share.
    pub fn apply(&self, pixels: &Pixels, interpolation: AffineInterpolation, fill: &[u8]) -> Pixels {
        let Pixels { width, height, channels, .. } = *pixels;
        let (half_width, half_height) = (0.5 * width as f32, 0.5 * height as f32);
        let [m0, m1, m2, m3, m4, m5] = self.inverse().map(|value| value as f32);
        let [x0, x1, x2] = [m0, m1, m2].map(|value| value / half_width);
        let [y0, y1, y2] = [m3, m4, m5].map(|value| value / half_height);
        let mut values = Vec::with_capacity(pixels.values.len());
        for row in 0..height {
            let v = row as f32 - (height as f32 - 1.0) * 0.5;
            for column in 0..width {
                let u = column as f32 - (width as f32 - 1.0) * 0.5;
                // From −1 to 1 within the image, and then in pixels.
                let x = (u * x0 + v * x1 + x2 + 1.0) * half_width - 0.5;
                let y = (u * y0 + v * y1 + y2 + 1.0) * half_height - 0.5;
                match interpolation {
                    AffineInterpolation::Nearest => match place(pixels, x.round_ties_even(), y.round_ties_even()) {
                        Some(at) => values.extend_from_slice(&pixels.values[at..at + channels]),
                        None => values.extend((0..channels).map(|channel| fill_of(fill, channel))),
                    },
                    AffineInterpolation::Bilinear => bilinear(pixels, x, y, fill, &mut values),
                }
            }
        }
        Pixels { width, height, channels, values }
    }
}

/// Returns the position of a pixel's values; `None` outside of the image.
fn place(pixels: &Pixels, x: f32, y: f32) -> Option<usize> {
    let is_within = x >= 0.0 && y >= 0.0 && x < pixels.width as f32 && y < pixels.height as f32;
    is_within.then(|| (y as usize * pixels.width + x as usize) * pixels.channels)
}

fn bilinear(pixels: &Pixels, x: f32, y: f32, fill: &[u8], values: &mut Vec<u8>) {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = (x - left, y - top);
    let (left_share, upper_share) = (1.0 - right_share, 1.0 - lower_share);
    let corners = [
        (place(pixels, left, top), left_share * upper_share),
        (place(pixels, left + 1.0, top), right_share * upper_share),
        (place(pixels, left, top + 1.0), left_share * lower_share),
        (place(pixels, left + 1.0, top + 1.0), right_share * lower_share),
    ];
    let within: f32 = corners.iter().filter(|(at, _)| at.is_some()).map(|(_, share)| share).sum();
    for channel in 0..pixels.channels {
        let value =
            |(at, share): &(Option<usize>, f32)| at.map_or(0.0, |at| f32::from(pixels.values[at + channel]) * share);
        let sampled: f32 = corners.iter().map(value).sum();
        let fill = f32::from(fill_of(fill, channel));
        values.push(((sampled - fill) * within + fill).round_ties_even() as u8);
    }
}
