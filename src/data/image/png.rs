//! PNG files: what is compressed in them beside the pixels is never expanded.

use super::MAX_SIDE;
use super::file::{ImageFile, check_size};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Reader, Transformations};
use std::io::Cursor;

/// A PNG file whose chunks before the pixels have been read.
pub(super) struct Png<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    decoded_bytes: u64,
    exif: &'a [u8],
}

/// Most bytes of the decoder's buffers beside rows and EXIF metadata: windows of the compressed data, and small chunks.
const BUFFERS: usize = 256 << 10;

/// Most bytes of a row of the widest image that is read, and of three more.
const ROWS: usize = 4 * 8 * MAX_SIDE;

impl<'a> Png<'a> {
    /// Reads the chunks before the pixels.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let exif = chunk(bytes, b"eXIf").unwrap_or_default();
        // A buffer may double in size.
        let limits = Limits { bytes: BUFFERS + ROWS + 3 * exif.len() };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
        // A small chunk of compressed text, or of a color profile, may expand to gigabytes.
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        // Palettes and fewer than 8 bits become colors of 8 bits, and of 16 bits the upper 8 are kept.
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let header = decoder.read_header_info().map_err(damaged)?;
        check_size((header.width, header.height))?;
        let reader = decoder.read_info().map_err(damaged)?;
        let decoded_bytes = reader.output_buffer_size().ok_or("it is too large for the memory of this machine")? as u64;
        Ok(Png { reader, decoded_bytes, exif })
    }
}

impl ImageFile for Png<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.reader.info().size()
    }

    fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    fn working_bytes(&self) -> u64 {
        4 * 8 * u64::from(self.dimensions().0) + (BUFFERS + 3 * self.exif.len()) as u64
    }

    fn exif(&self) -> &[u8] {
        self.exif
    }

    fn decode(mut self: Box<Self>) -> Result<DynamicImage, String> {
        let mut values = vec![0; self.decoded_bytes as usize];
        let info = self.reader.next_frame(&mut values).map_err(damaged)?;
        let (width, height) = self.dimensions();
        let image = match (info.color_type, info.bit_depth) {
            (ColorType::Grayscale, BitDepth::Eight) => GrayImage::from_raw(width, height, values).map(Into::into),
            (ColorType::GrayscaleAlpha, BitDepth::Eight) => {
                GrayAlphaImage::from_raw(width, height, values).map(Into::into)
            }
            (ColorType::Rgb, BitDepth::Eight) => RgbImage::from_raw(width, height, values).map(Into::into),
            (ColorType::Rgba, BitDepth::Eight) => RgbaImage::from_raw(width, height, values).map(Into::into),
            _ => None,
        };
        image.ok_or_else(|| format!("its values are not those of {width}×{height} pixels"))
    }
}

fn damaged(error: DecodingError) -> String {
    format!("it is damaged: {error}")
}

/// Returns the content of the first chunk with a name, which is whole.
fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let (length, after) = rest.split_first_chunk()?;
        let (found, content) = after.split_first_chunk::<4>()?;
        let (content, checksum) = content.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if found == name {
            return Some(content);
        }
        rest = checksum.get(4..)?;
    }
}
