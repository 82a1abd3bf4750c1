//! The decoder of image files.

use super::jpeg::Jpeg;
use super::{Image, Values};
use crate::error::DataError;
use crate::{Error, Result};
use exif::{In, Tag};
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits};
use std::io::Cursor;

/// The channels of a decoded image, whatever its file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One channel of luma after Rec. 601, as PIL and torchvision compute it: 0.299 red, 0.587 green and 0.114 blue.
    Gray,
    /// Three channels: red, green and blue.
    Rgb,
}

/// Largest file in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Largest side in pixels.
const MAX_SIDE: u32 = 16_384;
/// Largest number of pixels.
const MAX_PIXELS: u64 = 1 << 26;
/// Largest memory of decoding in bytes.
const MAX_MEMORY: u64 = 256 << 20;

#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
impl Image {
    /// Decodes a PNG or JPEG file, which is recognized by its content, into bytes. Transparency is dropped, 16 bits
    /// become 8, and the image is turned as its EXIF orientation says. What follows the end of a JPEG is ignored, such
    /// as the video of a phone's motion photo.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for any other or damaged file, for a JPEG of which a part is missing, and for a file that is
    /// too large: more than 64 MiB, 16,384 pixels per side, 2²⁶ pixels, or 256 MiB of memory while it is decoded.
    pub fn decode(bytes: &[u8], colors: Color) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(failed(format!("it has {} bytes, and at most {MAX_BYTES} are read", bytes.len())));
        }
        let (mut image, orientation) = match image::guess_format(bytes) {
            Ok(ImageFormat::Png) => {
                (png(bytes, colors)?, orientation(|reader| reader.read_from_container(&mut Cursor::new(bytes))))
            }
            Ok(ImageFormat::Jpeg) => {
                let mut jpeg = Jpeg::find(bytes).map_err(failed)?;
                let orientation = orientation(|reader| reader.read_raw(std::mem::take(&mut jpeg.exif)));
                (from_jpeg(&jpeg, colors)?, orientation)
            }
            Ok(other) => return Err(failed(format!("it is {other:?}, and PNG and JPEG are read"))),
            Err(_) => return Err(failed("it is neither PNG nor JPEG".to_owned())),
        };
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        Ok(match colors {
            Color::Gray => Image { shape: [1, height, width], values: Values::U8(gray(image)) },
            Color::Rgb => {
                let interleaved = image.into_rgb8().into_raw();
                let mut planes = Vec::with_capacity(interleaved.len());
                (0..3).for_each(|channel| planes.extend(interleaved.iter().skip(channel).step_by(3)));
                Image { shape: [3, height, width], values: Values::U8(planes) }
            }
        })
    }
}

fn failed(problem: String) -> Error {
    Error::Data(DataError::Image { problem })
}

/// Decodes a PNG.
fn png(bytes: &[u8], colors: Color) -> Result<DynamicImage> {
    let failed = |error: image::ImageError| failed(error.to_string());
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_MEMORY);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(failed)?;
    check_size(decoder.dimensions(), decoder.total_bytes(), 0, colors)?;
    DynamicImage::from_decoder(decoder).map_err(failed)
}

/// Decodes a JPEG.
fn from_jpeg(jpeg: &Jpeg, colors: Color) -> Result<DynamicImage> {
    check_size(jpeg.dimensions(), jpeg.decoded_bytes(), jpeg.working_bytes(), colors)?;
    jpeg.decode().map_err(failed)
}

/// Checks the size of an image before it is decoded: into `decoded` bytes, with the help of `working` bytes.
fn check_size((width, height): (u32, u32), decoded: u64, working: u64, colors: Color) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || width.max(height) > MAX_SIDE {
        let limits = format!("at most {MAX_PIXELS}, and {MAX_SIDE} a side, are read");
        return Err(failed(format!("it has {width}×{height} pixels, and {limits}")));
    }
    // The image as decoded, and then turned, or converted and divided into planes.
    let converted = if colors == Color::Rgb { 6 * pixels } else { 4 * pixels };
    let memory = decoded + working.max(decoded).max(converted);
    if memory > MAX_MEMORY {
        return Err(failed(format!("it would take {memory} bytes, and at most {MAX_MEMORY} are used")));
    }
    Ok(())
}

/// Returns the orientation that EXIF metadata name. None, or damaged ones, leave the image as it is.
fn orientation(read: impl FnOnce(&exif::Reader) -> Result<exif::Exif, exif::Error>) -> Orientation {
    let value = read(&exif::Reader::new()).ok();
    let value = value.and_then(|exif| exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0));
    let orientation = value.and_then(|value| Orientation::from_exif(value.try_into().ok()?));
    orientation.unwrap_or(Orientation::NoTransforms)
}

/// Returns the luma of each pixel.
fn gray(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_color() {
        return image.into_luma8().into_raw();
    }
    // The weights and the rounding of PIL.
    let luma = |[r, g, b]: [u32; 3]| (19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16;
    image.into_rgb8().pixels().map(|pixel| luma(pixel.0.map(u32::from)) as u8).collect()
}
