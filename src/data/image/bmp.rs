//! BMP files.

use super::file::ImageFile;
use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageDecoder, ImageError};
use std::io::Cursor;

/// A BMP file whose header has been read.
pub(super) struct Bmp<'a> {
    decoder: BmpDecoder<Cursor<&'a [u8]>>,
    bytes: &'a [u8],
}

impl<'a> Bmp<'a> {
    /// Reads the header and the palette.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
        Ok(Bmp { decoder, bytes })
    }

    fn short(&self, at: usize) -> u16 {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn long(&self, at: usize) -> u32 {
        u32::from(self.short(at)) | u32::from(self.short(at + 2)) << 16
    }

    /// Returns the number of bits of red, green and blue in a pixel of 16 bits; `None` for other pixels.
    fn bits_of_16(&self) -> Option<[u32; 3]> {
        // Only the oldest of the headers is shorter, and has no such pixels.
        if self.long(HEADER) < 40 || self.short(HEADER + 14) != 16 {
            return None;
        }
        let has_masks = self.long(HEADER + 16) == 3;
        Some([0, 1, 2].map(|color| if has_masks { self.long(HEADER + 40 + 4 * color).count_ones() } else { 5 }))
    }
}

/// Place of the header of the image, behind that of the file.
const HEADER: usize = 14;

impl ImageFile for Bmp<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    fn decoded_bytes(&self) -> u64 {
        self.decoder.total_bytes()
    }

    fn working_bytes(&self) -> u64 {
        // A row of the file.
        4 * u64::from(self.dimensions().0)
    }

    fn exif(&self) -> &[u8] {
        &[]
    }

    fn decode(self: Box<Self>) -> Result<DynamicImage, String> {
        let bits = self.bits_of_16();
        let mut image = DynamicImage::from_decoder(self.decoder).map_err(damaged)?;
        if let (Some(bits), DynamicImage::ImageRgb8(pixels)) = (bits, &mut image) {
            let tables = bits.map(rounded_down);
            for pixel in pixels.pixels_mut() {
                pixel.0.iter_mut().zip(&tables).for_each(|(value, table)| *value = table[usize::from(*value)]);
            }
        }
        Ok(image)
    }
}

/// Returns what PIL makes of a color of 5 or 6 bits, by what the decoder makes of it: PIL rounds down, and the decoder to
/// the nearest.
fn rounded_down(bits: u32) -> [u8; 256] {
    let largest = (1 << bits) - 1;
    std::array::from_fn(|value| match bits {
        5 | 6 => ((value * largest + 127) / 255 * 255 / largest) as u8,
        _ => value as u8,
    })
}

fn damaged(error: ImageError) -> String {
    format!("it is damaged or cut off: {error}")
}
