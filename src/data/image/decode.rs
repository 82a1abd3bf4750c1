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

/// The size of an image in a file, and the memory that decoding it takes.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageHeader {
    /// Width in pixels, before the image is turned.
    pub width: usize,
    /// Height in pixels, before the image is turned.
    pub height: usize,
    /// The most memory in bytes that [`Image::decode`] takes beside the file, its result included.
    pub memory: u64,
}

impl ImageHeader {
    /// Reads the header of a PNG or JPEG file, and decodes nothing: for programs that limit their memory.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for a file that [`Image::decode`] refuses by its header, such as one that is too large.
    pub fn read(bytes: &[u8], colors: Color) -> Result<Self> {
        File::open(bytes)?.header(colors)
    }
}

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
        let file = File::open(bytes)?;
        file.header(colors)?;
        let orientation = file.orientation();
        let mut image = file.decode()?;
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

/// A file whose header has been read.
enum File<'a> {
    Png(Box<PngDecoder<Cursor<&'a [u8]>>>, &'a [u8]),
    Jpeg(Jpeg<'a>),
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(failed(format!("it has {} bytes, and at most {MAX_BYTES} are read", bytes.len())));
        }
        match image::guess_format(bytes) {
            Ok(ImageFormat::Png) => {
                let mut limits = Limits::default();
                (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
                limits.max_alloc = Some(MAX_MEMORY);
                let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits);
                Ok(File::Png(Box::new(decoder.map_err(|error| failed(error.to_string()))?), bytes))
            }
            Ok(ImageFormat::Jpeg) => Jpeg::find(bytes).map(File::Jpeg).map_err(failed),
            Ok(other) => Err(failed(format!("it is {other:?}, and PNG and JPEG are read"))),
            Err(_) => Err(failed("it is neither PNG nor JPEG".to_owned())),
        }
    }

    /// Returns the header, after a check of the limits.
    fn header(&self, colors: Color) -> Result<ImageHeader> {
        let ((width, height), decoded, working) = match self {
            File::Png(decoder, _) => (decoder.dimensions(), decoder.total_bytes(), 0),
            File::Jpeg(jpeg) => (jpeg.dimensions(), jpeg.decoded_bytes(), jpeg.working_bytes()),
        };
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
        Ok(ImageHeader { width: width as usize, height: height as usize, memory })
    }

    fn orientation(&self) -> Orientation {
        match self {
            File::Png(_, bytes) => orientation(|reader| reader.read_from_container(&mut Cursor::new(bytes))),
            File::Jpeg(jpeg) => orientation(|reader| reader.read_raw(jpeg.exif.to_vec())),
        }
    }

    fn decode(self) -> Result<DynamicImage> {
        match self {
            File::Png(decoder, _) => DynamicImage::from_decoder(*decoder).map_err(|error| failed(error.to_string())),
            File::Jpeg(jpeg) => jpeg.decode().map_err(failed),
        }
    }
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
