//! What lies outside of an image: crops that reach over its borders.

use super::transform::fill_of;
use crate::data::Pixels;
use serde::{Deserialize, Serialize};

/// The pixels outside of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PaddingMode {
    /// Pixels of one color, the fill.
    #[default]
    Constant,
    /// The pixels at the border, repeated.
    Edge,
    /// The image mirrored at the centers of its outermost pixels, which are not repeated: `dcb|abcd|cba`.
    Reflect,
    /// The image mirrored at its borders, so that the outermost pixels are repeated: `cba|abcd|dcb`.
    Symmetric,
}

impl PaddingMode {
    /// Returns the position within `size` whose pixel is seen at `at`; `None` for the fill.
    fn source(self, at: isize, size: usize) -> Option<usize> {
        let size = size as isize;
        if (0..size).contains(&at) {
            return Some(at as usize);
        }
        let source = match self {
            PaddingMode::Constant => return None,
            PaddingMode::Edge => at.clamp(0, size - 1),
            PaddingMode::Reflect => {
                let period = (2 * (size - 1)).max(1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
            PaddingMode::Symmetric => {
                let at = at.rem_euclid(2 * size);
                at.min(2 * size - 1 - at)
            }
        };
        Some(source as usize)
    }
}

/// A rectangle that may reach over the borders of an image, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub top: isize,
    pub left: isize,
    pub height: usize,
    pub width: usize,
}

/// Copies the pixels in a window.
pub(super) fn crop(pixels: &Pixels, window: Window, mode: PaddingMode, fill: &[u8]) -> Pixels {
    let channels = pixels.channels;
    let Window { top, left, height, width } = window;
    // Columns of the window that lie within the image.
    let first = (-left).clamp(0, width as isize) as usize;
    let last = (pixels.width as isize - left).clamp(first as isize, width as isize) as usize;
    let start = (left + first as isize).clamp(0, pixels.width as isize) as usize;
    let mut values = Vec::with_capacity(height * width * channels);
    for y in 0..height {
        let row = mode.source(top + y as isize, pixels.height).map(|y| &pixels.values[y * pixels.width * channels..]);
        let outside = |columns: std::ops::Range<usize>, values: &mut Vec<u8>| {
            if mode == PaddingMode::Constant && fill.len() == 1 {
                values.resize(values.len() + columns.len() * channels, fill[0]);
                return;
            }
            for x in columns {
                match (row, mode.source(left + x as isize, pixels.width)) {
                    (Some(row), Some(x)) => values.extend_from_slice(&row[x * channels..][..channels]),
                    _ => values.extend((0..channels).map(|channel| fill_of(fill, channel))),
                }
            }
        };
        let Some(row) = row else {
            outside(0..width, &mut values);
            continue;
        };
        outside(0..first, &mut values);
        values.extend_from_slice(&row[start * channels..][..(last - first) * channels]);
        outside(last..width, &mut values);
    }
    Pixels { width, height, channels, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_continues_a_row_over_its_borders_and_any_distance() {
        let row = Pixels { width: 3, height: 1, channels: 1, values: vec![1, 2, 3] };
        let seen = |mode| crop(&row, Window { top: 0, left: -4, height: 1, width: 11 }, mode, &[9]).values;
        assert_eq!(seen(PaddingMode::Constant), [9, 9, 9, 9, 1, 2, 3, 9, 9, 9, 9]);
        assert_eq!(seen(PaddingMode::Edge), [1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3]);
        assert_eq!(seen(PaddingMode::Reflect), [1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3]);
        assert_eq!(seen(PaddingMode::Symmetric), [3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1]);
        let one = Pixels { width: 1, height: 1, channels: 3, values: vec![1, 2, 3] };
        let around = Window { top: -1, left: -1, height: 3, width: 3 };
        assert_eq!(crop(&one, around, PaddingMode::Reflect, &[0]).values, [1, 2, 3].repeat(9));
        let outside = Window { top: 5, left: 7, height: 1, width: 2 };
        assert_eq!(crop(&one, outside, PaddingMode::Constant, &[7, 8, 9]).values, [7, 8, 9, 7, 8, 9]);
    }
}
