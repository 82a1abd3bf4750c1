//! A small image in memory, and its PNG.

use std::borrow::Cow;

use crate::{Error, Result};

/// A gray or RGB image of 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    shape: [usize; 3],
    pixels: Vec<u8>,
}

impl Image {
    /// An image of the shape `[C, H, W]` with one channel (gray) or three (red, green, blue), channel by channel, each row
    /// by row: the layout of a batch.
    ///
    /// # Errors
    ///
    /// [`Error::ImageShape`] where the shape is another one, has a side of 0, or does not hold as many bytes as there are.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>) -> Result<Self> {
        let [channels, height, width] = shape;
        let bytes = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if !matches!(channels, 1 | 3) || height == 0 || width == 0 || bytes != Some(pixels.len()) {
            return Err(Error::ImageShape { shape, bytes: pixels.len() });
        }
        Ok(Image { shape, pixels })
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// Whether it has one channel.
    pub fn is_grey(&self) -> bool {
        self.shape[0] == 1
    }

    /// The color of one pixel.
    pub(super) fn rgb(&self, row: usize, column: usize) -> [u8; 3] {
        let at = row * self.width() + column;
        let plane = if self.is_grey() { 0 } else { self.height() * self.width() };
        [self.pixels[at], self.pixels[at + plane], self.pixels[at + 2 * plane]]
    }

    /// How many times as large the image becomes in a square of `side` pixels: 1 at least.
    pub(super) fn enlargement(&self, side: usize) -> usize {
        (side / self.height().max(self.width())).max(1)
    }

    /// The image in a square of `side` pixels: each pixel repeated a whole number of times, or, where it is too large,
    /// each a mean of a whole number of pixels.
    pub(super) fn scaled(&self, side: usize) -> Scaled {
        let large = self.enlargement(side);
        let small = self.height().max(self.width()).div_ceil(side);
        let (height, width) = (self.height() * large / small, self.width() * large / small);
        let (height, width) = (height.max(1), width.max(1));
        let mut pixels = Vec::with_capacity(height * width);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            let mut sum = [0; 3];
            for (y, x) in (0..small).flat_map(|y| (0..small).map(move |x| (y, x))) {
                let y = (row * small / large + y).min(self.height() - 1);
                let x = (column * small / large + x).min(self.width() - 1);
                for (sum, value) in sum.iter_mut().zip(self.rgb(y, x)) {
                    *sum += usize::from(value);
                }
            }
            pixels.push(sum.map(|sum| (sum / (small * small)) as u8));
        }
        Scaled { width, height, pixels }
    }

    /// The image as a PNG file.
    pub(super) fn png(&self) -> Vec<u8> {
        let (color, bytes) = if self.is_grey() {
            (png::ColorType::Grayscale, Cow::Borrowed(&self.pixels))
        } else {
            let places = (0..self.height()).flat_map(|row| (0..self.width()).map(move |column| (row, column)));
            (png::ColorType::Rgb, Cow::Owned(places.flat_map(|(row, column)| self.rgb(row, column)).collect()))
        };
        encode(color, self.width(), self.height(), &bytes)
    }
}

/// An image of another size, as red, green and blue pixels in rows.
pub(super) struct Scaled {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<[u8; 3]>,
}

/// A PNG file of these 8-bit pixels.
///
/// # Panics
///
/// If a side is 0 or does not fit PNG's 31 bits, or `bytes` has another length than the sides and the colors say.
pub(super) fn encode(color: png::ColorType, width: usize, height: usize, bytes: &[u8]) -> Vec<u8> {
    let side = |n: usize| u32::try_from(n).expect("a side fits PNG");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(width), side(height));
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header fits into memory");
    writer.write_image_data(bytes).expect("the sides and the bytes agree");
    writer.finish().expect("the end fits into memory");
    file
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_grey_and_a_colored_image_survive_the_png() {
        let gray: Vec<u8> = (0..6).collect();
        assert_eq!(decoded(&Image::new([1, 2, 3], gray.clone()).unwrap().png()), (3, 2, gray));

        let planes = vec![1, 2, 10, 20, 100, 200];
        let interleaved = vec![1, 10, 100, 2, 20, 200];
        assert_eq!(decoded(&Image::new([3, 1, 2], planes).unwrap().png()), (2, 1, interleaved));
    }

    #[test]
    fn a_small_image_is_repeated_and_a_large_one_averaged() {
        let image = Image::new([1, 2, 2], vec![0, 50, 100, 250]).unwrap();
        let large = image.scaled(5);
        assert_eq!((large.width, large.height), (4, 4));
        let values = |scaled: Scaled| scaled.pixels.iter().map(|pixel| pixel[0]).collect::<Vec<_>>();
        assert_eq!(values(large), [0, 0, 50, 50, 0, 0, 50, 50, 100, 100, 250, 250, 100, 100, 250, 250]);
        assert_eq!(values(image.scaled(1)), [100]);
        let thin = Image::new([1, 1, 9], (0..9).collect()).unwrap().scaled(4);
        assert_eq!((thin.width, thin.height), (3, 1));
        assert_eq!(values(thin), [1, 4, 7]);
    }

    #[test]
    fn a_shape_that_is_no_image_is_an_error() {
        for shape in [[2, 1, 2], [1, 0, 4], [1, 2, 3], [0, 2, 2], [1, usize::MAX, 4], [3, 1, 1]] {
            let error = Image::new(shape, vec![0; 4]).unwrap_err();
            assert!(matches!(error, Error::ImageShape { bytes: 4, .. }), "{shape:?}: {error}");
        }
    }

    /// Width, height and bytes of a PNG.
    pub(in crate::report) fn decoded(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        (frame.width, frame.height, bytes)
    }
}
