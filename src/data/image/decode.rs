//! The decoder of image files.

use super::bmp::Bmp;
use super::exif::orientation;
use super::file::{ImageFile, check_size};
use super::gif::Gif;
use super::jpeg::Jpeg;
use super::png::Png;
use super::{Image, Pixels};
use crate::error::DataError;
use crate::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage, Rgba};
use serde::{Deserialize, Serialize};

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
    /// Reads the header of a PNG, JPEG, GIF or BMP file, and decodes nothing: for programs that limit their memory.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for a file that [`Image::decode`] refuses by its header, such as one that is too large.
    pub fn read(bytes: &[u8], colors: Color) -> Result<Self> {
        header(&*open(bytes)?, colors)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
impl Image {
    /// Decodes a PNG, JPEG, GIF or BMP file, which is recognized by its content, into bytes. [Transparency is
    /// dropped](Alpha::Drop), of 16 bits the upper 8 are kept, of a GIF the first image is decoded, and the image is
    /// turned as its EXIF orientation says. What follows the end of an image is ignored, such as the video of a phone's
    /// motion photo.
    ///
    /// The pixels are those of PIL after `ImageOps.exif_transpose` and `convert("RGB")` or `convert("L")`; those of a
    /// JPEG differ by at most 3 of 255.
    ///
    /// WebP is not read. Its lossless form may describe codes of its own for every 4×4 pixels, and the decoder in Rust that
    /// this crate could use makes more than a gigabyte of tables out of a file of 4 MB and 1024×1024 pixels, without a way
    /// to limit them.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for any other or damaged file, for a file of which a part is missing, and for one that is too
    /// large: more than 64 MiB, 16,384 pixels per side, 2²⁶ pixels, or 256 MiB of memory while it is decoded. A JPEG has
    /// at most 4096 segments, and a progressive one as many scans as take seconds rather than minutes.
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
        let file = open(bytes)?;
        let ImageHeader { width, height, .. } = header(&*file, Color::Rgb)?;
        let is_turned = matches!(
            orientation(file.exif()),
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        );
        Ok(if is_turned { [width, height] } else { [height, width] })
    }

    /// Decodes a file as [`Image::decode`] does.
    pub fn decode(bytes: &[u8], colors: Color, alpha: Alpha) -> Result<Self> {
        let file = open(bytes)?;
        header(&*file, colors)?;
        let orientation = orientation(file.exif());
        let mut image = file.decode().map_err(failed)?;
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

/// Recognizes the format of a file by its beginning, if it is one that is read.
fn format(beginning: &[u8]) -> Result<ImageFormat> {
    match image::guess_format(beginning) {
        Ok(known @ (ImageFormat::Bmp | ImageFormat::Gif | ImageFormat::Jpeg | ImageFormat::Png)) => Ok(known),
        Ok(other) => Err(failed(format!("it is {other:?}, and PNG, JPEG, GIF and BMP are read"))),
        Err(_) => Err(failed("it is neither PNG nor JPEG, GIF or BMP".to_owned())),
    }
}

/// Reads the header of a file.
fn open(bytes: &[u8]) -> Result<Box<dyn ImageFile + '_>> {
    if bytes.len() > MAX_BYTES {
        return Err(failed(format!("it has {} bytes, and at most {MAX_BYTES} are read", bytes.len())));
    }
    let file: Result<Box<dyn ImageFile + '_>, String> = match format(bytes)? {
        ImageFormat::Bmp => Bmp::open(bytes).map(|file| Box::new(file) as _),
        ImageFormat::Gif => Gif::open(bytes).map(|file| Box::new(file) as _),
        ImageFormat::Jpeg => Jpeg::find(bytes).map(|file| Box::new(file) as _),
        _ => Png::open(bytes).map(|file| Box::new(file) as _),
    };
    file.map_err(failed)
}

/// Returns the header of a file, after a check of the limits.
fn header(file: &dyn ImageFile, colors: Color) -> Result<ImageHeader> {
    let (width, height) = file.dimensions();
    check_size((width, height)).map_err(failed)?;
    let pixels = u64::from(width) * u64::from(height);
    // The image as decoded, and then turned, or converted and divided into planes.
    let converted = if colors == Color::Rgb { 6 * pixels } else { 4 * pixels };
    let decoded = file.decoded_bytes();
    let memory = decoded + file.working_bytes().max(decoded).max(converted);
    if memory > MAX_MEMORY {
        return Err(failed(format!("it would take {memory} bytes, and at most {MAX_MEMORY} are used")));
    }
    Ok(ImageHeader { width: width as usize, height: height as usize, memory })
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
