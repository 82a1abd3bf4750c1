//! Gives images the size of a network's inputs.

use super::{Fit, Interpolation, Pixels, Rectangle, luma};

impl Fit {
    /// Gives an image this height and width.
    pub(crate) fn apply(self, pixels: Pixels, size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let [height, width] = size;
        if [pixels.height, pixels.width] == size && !matches!(self, Fit::CenterCrop { .. }) {
            return pixels;
        }
        let (old_height, old_width) = (pixels.height as f64, pixels.width as f64);
        let scaled = |scale: f64, least: [usize; 2], most: [usize; 2]| {
            [(old_height * scale, 0), (old_width * scale, 1)]
                .map(|(side, axis)| (side.round() as usize).clamp(least[axis], most[axis]))
        };
        match self {
            Fit::Stretch => pixels.resize(size, interpolation),
            Fit::Crop => {
                let scale = (height as f64 / old_height).max(width as f64 / old_width);
                pixels.resize_center(scaled(scale, size, [usize::MAX; 2]), size, interpolation)
            }
            Fit::CenterCrop { resize_size } => {
                // The longer side is cut to whole pixels, as by torchvision.
                let longer = |side: usize, shorter: usize| (resize_size * side / shorter).max(resize_size);
                let resized = match pixels.height <= pixels.width {
                    true => [resize_size, longer(pixels.width, pixels.height)],
                    false => [longer(pixels.height, pixels.width), resize_size],
                };
                pixels.resize_center(resized, size, interpolation)
            }
            Fit::Pad { fill } => {
                let scale = (height as f64 / old_height).min(width as f64 / old_width);
                let resized = pixels.resize(scaled(scale, [1, 1], size), interpolation);
                let mut padded = Pixels::filled(width, height, &color(fill, pixels.channels));
                padded.paste(&resized, (width - resized.width) / 2, (height - resized.height) / 2);
                padded
            }
        }
    }
}

/// Returns a color in the channels of an image.
fn color(fill: [u8; 3], channels: usize) -> Vec<u8> {
    if channels == 3 { fill.to_vec() } else { vec![luma(fill); channels] }
}

impl Pixels {
    /// Resizes to `resized` and cuts `size` out of the center, where torchvision cuts it: a rest of half a pixel is
    /// rounded to an even number.
    fn resize_center(&self, resized: [usize; 2], size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let [top, left] = [0, 1].map(|axis| ((resized[axis] - size[axis]) as f64 / 2.0).round_ties_even() as usize);
        let part = Rectangle { left, top, width: size[1], height: size[0] };
        self.resize_to_part(resized, part, interpolation)
    }

    /// Copies `other` to a place within the pixels.
    fn paste(&mut self, other: &Pixels, left: usize, top: usize) {
        let length = other.width * other.channels;
        for (row, values) in other.values.chunks_exact(length).enumerate() {
            let start = ((top + row) * self.width + left) * self.channels;
            self.values[start..start + length].copy_from_slice(values);
        }
    }
}
