//! Brightness, contrast, saturation, hue and gray values, computed as torchvision computes them on tensors of bytes.
//!
//! Products are added as by a fused multiply–add in f32, which is what libtorch does on current CPUs. It is computed in
//! f64, which holds the product of two f32 exactly.

use crate::data::Pixels;

/// Adds a product with one rounding, as by a fused multiply–add in f32.
pub(super) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

/// Limits a number to the range of bytes, and drops its fraction.
pub(super) fn to_byte(value: f32) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

/// Replaces each value by that of a table of 256.
pub(super) fn map(mut pixels: Pixels, byte: impl Fn(u8) -> u8) -> Pixels {
    let table: [u8; 256] = std::array::from_fn(|value| byte(value as u8));
    pixels.values.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    pixels
}

/// Returns the gray value of a color, by the weights of ITU-R BT.601, rounded down.
fn gray_of([red, green, blue]: [u8; 3]) -> f32 {
    let [red, green, blue] = [red, green, blue].map(f32::from);
    multiply_add(blue, 0.114, multiply_add(green, 0.587, red * 0.2989)).floor()
}

/// Multiplies all values by a factor of at least 0.
pub(super) fn brightness(pixels: Pixels, factor: f64) -> Pixels {
    map(pixels, |value| to_byte(f32::from(value) * factor as f32))
}

/// Moves all values away from the mean gray value, or towards it, by a factor of at least 0. For 1 or 3 channels.
pub(super) fn contrast(pixels: Pixels, factor: f64) -> Pixels {
    let (colors, count) = (pixels.values.as_chunks::<3>().0, pixels.width * pixels.height);
    let sum: u64 = match pixels.channels {
        3 => colors.iter().map(|&color| gray_of(color) as u64).sum(),
        _ => pixels.values.iter().map(|&value| u64::from(value)).sum(),
    };
    let mean = sum as f32 / count as f32;
    map(pixels, |value| blend(value, mean, factor))
}

/// Moves all colors away from their gray value, or towards it, by a factor of at least 0. Changes 3 channels only.
pub(super) fn saturation(mut pixels: Pixels, factor: f64) -> Pixels {
    if pixels.channels == 3 {
        for color in pixels.values.as_chunks_mut::<3>().0 {
            let gray = gray_of(*color);
            *color = color.map(|value| blend(value, gray, factor));
        }
    }
    pixels
}

fn blend(value: u8, other: f32, factor: f64) -> u8 {
    to_byte(multiply_add(other, (1.0 - factor) as f32, f32::from(value) * factor as f32))
}

/// Replaces colors by their gray value in all three channels. Changes 3 channels only.
pub(super) fn grayscale(mut pixels: Pixels) -> Pixels {
    if pixels.channels == 3 {
        for color in pixels.values.as_chunks_mut::<3>().0 {
            *color = [gray_of(*color) as u8; 3];
        }
    }
    pixels
}

/// Turns the hue of all colors by a share of the circle, −0.5 to 0.5. Changes 3 channels only.
pub(super) fn hue(mut pixels: Pixels, shift: f64) -> Pixels {
    if pixels.channels == 3 {
        for color in pixels.values.as_chunks_mut::<3>().0 {
            let [hue, saturation, value] = to_hsv(color.map(|value| f32::from(value) * (1.0 / 255.0_f64) as f32));
            let hue = (hue + shift as f32).rem_euclid(1.0);
            // torchvision's scale: 1 becomes 255, and each byte has an equal share of 0 to 1.
            *color = to_rgb([hue, saturation, value]).map(|value| (value * 255.999) as u8);
        }
    }
    pixels
}

fn to_hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0.0, 0.0, most];
    }
    let range = most - least;
    let [r, g, b] = [red, green, blue].map(|value| (most - value) / range);
    let sector = if most == red {
        b - g
    } else if most == green {
        r + 2.0 - b
    } else {
        g + 4.0 - r
    };
    [(sector * (1.0 / 6.0_f64) as f32 + 1.0) % 1.0, range / most, most]
}

fn to_rgb([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let [p, q, t] = [1.0 - saturation, 1.0 - saturation * fraction, saturation * fraction + (1.0 - saturation)]
        .map(|share| (share * value).clamp(0.0, 1.0));
    match (sector as i32).rem_euclid(6) {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
