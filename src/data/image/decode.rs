//! The decoder of image files.

use super::jpeg::Jpeg;
use super::{Image, MAX_SIDE, Pixels};
use crate::error::DataError;
use crate::{Error, Result};
use exif::{In, Tag};
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, Limits, Luma, LumaA, Pixel, Rgb, RgbImage, Rgba};
use serde::{Deserialize, Serialize};
use std::io::Cursor;

/// The channels of a decoded image, whatever its file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Color {
    /// One channel of luma after Rec. 601, as PIL and torchvision compute it: 0.299 red, 0.587 green and 0.114 blue.
    Gray,
    /// Three channels: red, green and blue.
    Rgb,
}

/// What becomes of the transparency of an image.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alpha {
    /// It is dropped, as by PIL's `convert("RGB")`: each pixel has its color, whether it is visible or not.
    #[default]
    Drop,
    /// The image is put over a background of this color: red, green and blue.
    Over([u8; 3]),
}

/// Largest file in bytes.
const MAX_BYTES: usize = 64 << 20;
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
    /// Decodes a PNG or JPEG file, which is recognized by its content, into bytes. [Transparency is
    /// dropped](Alpha::Drop), of 16 bits the upper 8 are kept, and the image is turned as its EXIF orientation says.
    /// What follows the end of a JPEG is ignored, such as the video of a phone's motion photo.
    ///
    /// The pixels are those of PIL after `ImageOps.exif_transpose` and `convert("RGB")` or `convert("L")`; those of a
    /// JPEG differ by at most 3 of 255.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for any other or damaged file, for a JPEG of which a part is missing, and for a file that is
    /// too large: more than 64 MiB, 16,384 pixels per side, 2²⁶ pixels, or 256 MiB of memory while it is decoded.
    pub fn decode(bytes: &[u8], colors: Color) -> Result<Self> {
        Pixels::decode(bytes, colors, Alpha::Drop).map(Pixels::into_image)
    }
}

impl Pixels {
    /// Checks that the beginning of a file is that of a format that is read.
    pub fn check_format(beginning: &[u8]) -> Result<()> {
        format(beginning).map(drop)
    }

    /// Whether a name's extension is one of the format of the file, or none of a format.
    pub fn has_extension(bytes: &[u8], extension: &str) -> bool {
        let named = ImageFormat::from_extension(extension);
        named.is_none() || named == image::guess_format(bytes).ok()
    }

    /// Returns height and width of the image in a file, turned as its EXIF orientation says.
    pub fn size_in(bytes: &[u8]) -> Result<[usize; 2]> {
        let file = File::open(bytes)?;
        let ImageHeader { width, height, .. } = file.header(Color::Rgb)?;
        let is_turned = matches!(
            file.orientation(),
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        );
        Ok(if is_turned { [width, height] } else { [height, width] })
    }

    /// Decodes a file as [`Image::decode`] does.
    pub fn decode(bytes: &[u8], colors: Color, alpha: Alpha) -> Result<Self> {
        let file = File::open(bytes)?;
        file.header(colors)?;
        let orientation = file.orientation();
        let mut image = eight_bits(file.decode()?);
        if let Alpha::Over(background) = alpha {
            image = over(image, background);
        }
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (channels, values) = match colors {
            Color::Gray => (1, gray(image)),
            Color::Rgb => (3, image.into_rgb8().into_raw()),
        };
        Ok(Pixels { width, height, channels, values })
    }
}

fn failed(problem: String) -> Error {
    Error::Data(DataError::Image { problem })
}

/// A format that is read.
enum Format {
    Png,
    Jpeg,
}

/// Recognizes the format of a file by its beginning.
fn format(beginning: &[u8]) -> Result<Format> {
    match image::guess_format(beginning) {
        Ok(ImageFormat::Png) => Ok(Format::Png),
        Ok(ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(other) => Err(failed(format!("it is {other:?}, and PNG and JPEG are read"))),
        Err(_) => Err(failed("it is neither PNG nor JPEG".to_owned())),
    }
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
        match format(bytes)? {
            Format::Png => {
                let mut limits = Limits::default();
                (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE as u32), Some(MAX_SIDE as u32));
                limits.max_alloc = Some(MAX_MEMORY);
                let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits);
                Ok(File::Png(Box::new(decoder.map_err(|error| failed(error.to_string()))?), bytes))
            }
            Format::Jpeg => Jpeg::find(bytes).map(File::Jpeg).map_err(failed),
        }
    }

    /// Returns the header, after a check of the limits.
    fn header(&self, colors: Color) -> Result<ImageHeader> {
        let ((width, height), decoded, working) = match self {
            File::Png(decoder, _) => (decoder.dimensions(), decoder.total_bytes(), 0),
            File::Jpeg(jpeg) => (jpeg.dimensions(), jpeg.decoded_bytes(), jpeg.working_bytes()),
        };
        let pixels = u64::from(width) * u64::from(height);
        if pixels > MAX_PIXELS || width.max(height) as usize > MAX_SIDE {
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

/// Keeps the upper 8 of 16 bits.
fn eight_bits(image: DynamicImage) -> DynamicImage {
    fn upper<P: Pixel<Subpixel = u16>, Q: Pixel<Subpixel = u8>>(
        image: &ImageBuffer<P, Vec<u16>>,
    ) -> ImageBuffer<Q, Vec<u8>> {
        let values = image.as_raw().iter().map(|value| (value >> 8) as u8).collect();
        ImageBuffer::from_raw(image.width(), image.height(), values).expect("as many values")
    }
    match image {
        DynamicImage::ImageLuma16(image) => upper::<_, Luma<u8>>(&image).into(),
        DynamicImage::ImageLumaA16(image) => upper::<_, LumaA<u8>>(&image).into(),
        DynamicImage::ImageRgb16(image) => upper::<_, Rgb<u8>>(&image).into(),
        DynamicImage::ImageRgba16(image) => upper::<_, Rgba<u8>>(&image).into(),
        image => image,
    }
}

/// Puts an image over a color.
fn over(image: DynamicImage, background: [u8; 3]) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let image = image.into_rgba8();
    let mut values = Vec::with_capacity(image.pixels().len() * 3);
    for Rgba([red, green, blue, alpha]) in image.pixels() {
        let (visible, hidden) = (u32::from(*alpha), 255 - u32::from(*alpha));
        let mixed = [red, green, blue].into_iter().zip(background).map(|(&color, background)| {
            // With rounding to the nearest.
            ((u32::from(color) * visible + u32::from(background) * hidden + 127) / 255) as u8
        });
        values.extend(mixed);
    }
    RgbImage::from_raw(image.width(), image.height(), values).expect("as many values").into()
}

/// Returns the luma of each pixel.
fn gray(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_color() {
        return image.into_luma8().into_raw();
    }
    image.into_rgb8().pixels().map(|pixel| luma(pixel.0)).collect()
}

/// Returns the luma of a color after Rec. 601, with the weights and the rounding of PIL.
pub(in crate::data) fn luma(color: [u8; 3]) -> u8 {
    let [red, green, blue] = color.map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}
