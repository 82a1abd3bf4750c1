//! 8-bit pixels whose channels lie together, as decoders, resizing and augmentation use them.

use super::{Image, Values};

/// Pixels of 8 bits per channel, row by row, the channels of each pixel together. All sizes are at least 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    /// `height` × `width` × `channels` values.
    pub values: Vec<u8>,
}

impl Pixels {
    /// Creates pixels of one color.
    #[cfg(feature = "images")]
    pub fn filled(width: usize, height: usize, color: &[u8]) -> Self {
        Pixels { width, height, channels: color.len(), values: color.repeat(width * height) }
    }

    /// Copies an image `[C, H, W]`, channel by channel.
    pub fn from_planes([channels, height, width]: [usize; 3], planes: &[u8]) -> Self {
        let mut values = vec![0; planes.len()];
        if let (3, Some((red, rest))) = (channels, planes.split_at_checked(width * height)) {
            let (green, blue) = rest.split_at(width * height);
            let planes = red.iter().zip(green).zip(blue);
            for (pixel, ((&red, &green), &blue)) in values.as_chunks_mut::<3>().0.iter_mut().zip(planes) {
                *pixel = [red, green, blue];
            }
            return Pixels { width, height, channels, values };
        }
        for (channel, plane) in planes.chunks_exact(width * height).enumerate() {
            values[channel..].iter_mut().step_by(channels).zip(plane).for_each(|(value, &from)| *value = from);
        }
        Pixels { width, height, channels, values }
    }

    /// Returns the shape `[C, H, W]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Writes an image `[C, H, W]`, channel by channel, over as many values.
    pub fn write_planes(&self, planes: &mut [u8]) {
        let size = self.width * self.height;
        if let (3, Some((red, rest))) = (self.channels, planes.split_at_mut_checked(size)) {
            let (green, blue) = rest.split_at_mut(size);
            write_three(&self.values, red, green, blue);
            return;
        }
        for (channel, plane) in planes.chunks_exact_mut(size).enumerate() {
            let values = self.values[channel..].iter().step_by(self.channels);
            plane.iter_mut().zip(values).for_each(|(value, &from)| *value = from);
        }
    }

    /// Converts to an image `[C, H, W]`.
    pub fn into_image(self) -> Image {
        let shape = self.shape();
        if self.channels == 1 {
            return Image { shape, values: Values::U8(self.values) };
        }
        let mut planes = vec![0; self.values.len()];
        self.write_planes(&mut planes);
        Image { shape, values: Values::U8(planes) }
    }

    /// Copies a rectangle, which lies within the pixels.
    #[cfg(feature = "images")]
    pub fn crop(&self, Rectangle { left, top, width, height }: Rectangle) -> Self {
        let mut values = Vec::with_capacity(width * height * self.channels);
        for row in top..top + height {
            values
                .extend_from_slice(&self.values[(row * self.width + left) * self.channels..][..width * self.channels]);
        }
        Pixels { width, height, channels: self.channels, values }
    }
}

/// Separates three channels. Blocks of a fixed size let the compiler use vector instructions.
fn write_three(values: &[u8], red: &mut [u8], green: &mut [u8], blue: &mut [u8]) {
    const BLOCK: usize = 32;
    let (blocks, rest) = values.as_chunks::<{ 3 * BLOCK }>();
    let (red, red_rest) = red.as_chunks_mut::<BLOCK>();
    let (green, green_rest) = green.as_chunks_mut::<BLOCK>();
    let (blue, blue_rest) = blue.as_chunks_mut::<BLOCK>();
    for (((block, red), green), blue) in blocks.iter().zip(red).zip(green).zip(blue) {
        for i in 0..BLOCK {
            (red[i], green[i], blue[i]) = (block[3 * i], block[3 * i + 1], block[3 * i + 2]);
        }
    }
    let rests = red_rest.iter_mut().zip(green_rest).zip(blue_rest);
    for (pixel, ((red, green), blue)) in rest.chunks_exact(3).zip(rests) {
        (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
    }
}

/// A rectangle of at least one pixel, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels_and_planes_again() {
        for channels in [1, 2, 3, 4] {
            let planes: Vec<u8> = (0..channels * 6).map(|value| value as u8).collect();
            let pixels = Pixels::from_planes([channels, 2, 3], &planes);
            assert_eq!(pixels.values[..channels], (0..channels).map(|c| 6 * c as u8).collect::<Vec<_>>());
            assert_eq!(pixels.into_image(), Image::new([channels, 2, 3], Values::U8(planes)).unwrap());
        }
    }

    #[cfg(feature = "images")]
    #[test]
    fn a_crop_has_the_pixels_of_its_rectangle() {
        let pixels = Pixels { width: 3, height: 2, channels: 2, values: (0..12).collect() };
        let crop = pixels.crop(Rectangle { left: 1, top: 1, width: 2, height: 1 });
        assert_eq!((crop.width, crop.height, crop.values), (2, 1, vec![8, 9, 10, 11]));
    }
}
