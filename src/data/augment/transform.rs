//! The interface of an operation on one image, and the checks that operations share.

use crate::data::image::MAX_SIDE;
use crate::data::{Pixels, SampleKey};
use crate::{Error, Result};

/// An operation on the pixels of one image. Whatever is random about it is a function of the sample's key and of the
/// operation's position among those of an [`Augment`](super::Augment).
pub(super) trait Transform {
    /// Checks all fields, and returns the shape `[C, H, W]` of what an image of this shape becomes.
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]>;

    /// Draws the parameters and applies them. The fields and the shape of the pixels are checked before.
    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels;
}

/// Checks the probability of an operation.
pub(super) fn check_probability(field: &'static str, p: f64) -> Result<()> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::invalid_value(field, p, "from 0 to 1")),
    }
}

/// Checks that a range is one, and lies within `[low, high]`, which `expected` says in words.
pub(super) fn check_range(
    field: &'static str,
    range: [f64; 2],
    within: [f64; 2],
    expected: &'static str,
) -> Result<()> {
    let [low, high] = range;
    match within[0] <= low && low <= high && high <= within[1] {
        true => Ok(()),
        false => Err(Error::invalid_value(field, format!("{low} to {high}"), expected)),
    }
}

/// Checks that there is one byte for all channels, or one per channel.
pub(super) fn check_fill(field: &'static str, fill: &[u8], channels: usize) -> Result<()> {
    match fill.len() == 1 || fill.len() == channels {
        true => Ok(()),
        false => {
            let value = format!("{fill:?} for {channels} channels");
            Err(Error::invalid_value(field, value, "one byte, or one per channel"))
        }
    }
}

/// Checks the height and the width of an image or a padding, of which `least` is the smallest.
pub(super) fn check_sides(field: &'static str, sides: [usize; 2], least: usize) -> Result<()> {
    match sides.iter().all(|side| (least..=MAX_SIDE).contains(side)) {
        true => Ok(()),
        false => {
            let expected = if least == 0 { "0 to 16384 pixels a side" } else { "1 to 16384 pixels a side" };
            Err(Error::invalid_value(field, format!("{}×{}", sides[0], sides[1]), expected))
        }
    }
}

/// Checks that images are gray or have three channels, which `field` needs.
pub(super) fn check_gray_or_color(field: &'static str, channels: usize) -> Result<()> {
    match channels {
        1 | 3 => Ok(()),
        _ => Err(Error::invalid_value(field, format!("{channels} channels"), "1 or 3 channels")),
    }
}

/// Returns the byte of a channel of a fill color: one for all, or one per channel.
pub(super) fn fill_of(fill: &[u8], channel: usize) -> u8 {
    if fill.len() == 1 { fill[0] } else { fill[channel] }
}
