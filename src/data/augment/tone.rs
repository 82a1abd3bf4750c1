//! Posterizing, solarizing, contrast over the full range, equalizing and sharpening, as torchvision computes them on
//! tensors of bytes.

use super::color::{map, multiply_add, to_byte};
use crate::data::Pixels;
use std::iter::StepBy;
use std::slice::Iter;

/// Keeps the upper `bits` of each value, 0 to 8.
pub(super) fn posterize(pixels: Pixels, bits: u32) -> Pixels {
    let mask = !(0xFF_u32 >> bits.min(8)) as u8;
    map(pixels, |value| value & mask)
}

/// Inverts all values from `threshold` on.
pub(super) fn solarize(pixels: Pixels, threshold: f64) -> Pixels {
    map(pixels, |value| if f64::from(value) >= threshold { !value } else { value })
}

/// Stretches the values of each channel to the full range.
pub(super) fn autocontrast(pixels: Pixels) -> Pixels {
    map_channels(pixels, |values| {
        let (least, most) = values.clone().fold((255, 0), |(least, most), &value| (value.min(least), value.max(most)));
        let inverse_scale = f32::from(most.saturating_sub(least)) * (1.0 / 255.0_f64) as f32;
        std::array::from_fn(|value| match most > least {
            true => to_byte((value as f32 - f32::from(least)) / inverse_scale),
            false => value as u8,
        })
    })
}

/// Equalizes the histogram of each channel, by PIL's rule.
pub(super) fn equalize(pixels: Pixels) -> Pixels {
    map_channels(pixels, |values| {
        let mut counts = [0_usize; 256];
        values.for_each(|&value| counts[usize::from(value)] += 1);
        let largest = counts.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
        let step = (counts.iter().sum::<usize>() - largest) / 255;
        let mut below = 0;
        std::array::from_fn(|value| {
            let equalized = (below + step / 2).checked_div(step).unwrap_or(value);
            below += counts[value];
            equalized.min(255) as u8
        })
    })
}

/// Replaces the values of each channel by those of a table, which is made from all of them.
fn map_channels(mut pixels: Pixels, table: impl Fn(StepBy<Iter<u8>>) -> [u8; 256]) -> Pixels {
    for channel in 0..pixels.channels {
        let table = table(pixels.values[channel..].iter().step_by(pixels.channels));
        pixels.values[channel..]
            .iter_mut()
            .step_by(pixels.channels)
            .for_each(|value| *value = table[usize::from(*value)]);
    }
    pixels
}

/// Moves all values but those of the border away from the mean of their neighbors, or towards it, by a factor of at
/// least 0. Images of less than three rows or columns stay.
pub(super) fn sharpness(pixels: Pixels, factor: f64) -> Pixels {
    let Pixels { width, height, channels, .. } = pixels;
    if width <= 2 || height <= 2 {
        return pixels;
    }
    let mut sharpened = pixels.clone();
    let row = width * channels;
    for y in 1..height - 1 {
        for at in y * row + channels..(y + 1) * row - channels {
            let of_row = |at: usize| {
                [at - channels, at, at + channels].iter().map(|&at| u32::from(pixels.values[at])).sum::<u32>()
            };
            let value = pixels.values[at];
            // Eight neighbors count once and the pixel itself five times; the sum divided by 13 is never half a unit.
            let sum = of_row(at - row) + of_row(at) + of_row(at + row) + 4 * u32::from(value);
            let blurred = ((2 * sum + 13) / 26) as f32;
            let value = f32::from(value);
            sharpened.values[at] = to_byte(multiply_add(blurred - value, (1.0 - factor) as f32, value));
        }
    }
    sharpened
}
