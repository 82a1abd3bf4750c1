//! Single images in plain memory, and the decoder of image files.

use super::Values;
use crate::error::InputError;
use crate::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

/// A single image `[C, H, W]` in plain memory, of bytes from 0 to 255 or of numbers.
///
/// # Examples
///
/// ```
/// use densenet::data::{Image, Values};
/// use densenet::ndarray::Array3;
///
/// let pixels = Array3::from_elem((3, 32, 32), 128_u8);
/// let image = Image::new([3, 32, 32], Values::U8(pixels.iter().copied().collect()))?;
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    shape: [usize; 3],
    values: Values,
}

impl Image {
    /// Creates an image of these values, channel by channel and row by row.
    ///
    /// # Errors
    ///
    /// [`InputError::SampleShape`] where there are more or fewer values than the shape says.
    pub fn new(shape: [usize; 3], values: Values) -> Result<Self> {
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        match count {
            Some(count @ 1..) if count == values.len() => Ok(Image { shape, values }),
            _ => {
                let expected = format!("as many values as there are: {}", values.len());
                Err(Error::Input(InputError::SampleShape { actual: shape.to_vec(), expected }))
            }
        }
    }

    /// Returns channels, height and width in pixels.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Returns the values, channel by channel and row by row.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Returns the bytes from 0 to 255, channel by channel and row by row; `None` where the values are f32.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.values {
            Values::U8(bytes) => Some(bytes),
            Values::F32(_) => None,
        }
    }
}

impl TryFrom<&Tensor> for Image {
    type Error = Error;

    /// Copies a tensor `[C, H, W]` from any device: bytes stay bytes, and other numbers become f32.
    fn try_from(tensor: &Tensor) -> Result<Self> {
        let shape: Vec<usize> = tensor.size().into_iter().map(|size| size as usize).collect();
        let &[channels, height, width] = &shape[..] else {
            return Err(Error::Input(InputError::SampleShape { actual: shape, expected: "[C, H, W]".to_owned() }));
        };
        let flat = tensor.detach().to_device(Device::Cpu).contiguous().view(-1);
        let failed = |error: TchError| Error::libtorch("values of a tensor")(error);
        let values = match flat.kind() {
            Kind::Uint8 => Values::U8(Vec::try_from(flat).map_err(failed)?),
            _ => Values::F32(Vec::try_from(flat.to_kind(Kind::Float)).map_err(failed)?),
        };
        Image::new([channels, height, width], values)
    }
}

#[cfg(feature = "images")]
mod decode {
    use super::{Image, Values};
    use crate::error::DataError;
    use crate::{Error, Result};
    use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
    use std::io::Cursor;

    /// The channels of a decoded image, whatever its file has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Color {
        /// One channel of luma.
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
        /// become 8, and the orientation of a JPEG is applied.
        ///
        /// # Errors
        ///
        /// [`DataError::Image`] for any other or damaged file, and for one that is too large: more than 64 MiB of file,
        /// 16,384 pixels per side, 2²⁶ pixels, or 256 MiB of memory while it is decoded.
        pub fn decode(bytes: &[u8], colors: Color) -> Result<Self> {
            let failed = |problem: String| Error::Data(DataError::Image { problem });
            if bytes.len() > MAX_BYTES {
                return Err(failed(format!("it has {} bytes, and at most {MAX_BYTES} are read", bytes.len())));
            }
            let mut reader = ImageReader::new(Cursor::new(bytes));
            let format = image::guess_format(bytes).map_err(|_| failed("it is neither PNG nor JPEG".to_owned()))?;
            match format {
                ImageFormat::Png => {}
                // The decoder silently fills the missing part of a truncated file with gray.
                ImageFormat::Jpeg if ends_with_marker(bytes) => {}
                ImageFormat::Jpeg => return Err(failed("it is cut off: a JPEG without its end".to_owned())),
                other => return Err(failed(format!("it is {other:?}, and PNG and JPEG are read"))),
            }
            reader.set_format(format);
            let mut limits = Limits::default();
            (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
            limits.max_alloc = Some(MAX_MEMORY);
            reader.limits(limits);
            let mut decoder = reader.into_decoder().map_err(|error| failed(error.to_string()))?;
            let (width, height) = decoder.dimensions();
            if u64::from(width) * u64::from(height) > MAX_PIXELS {
                return Err(failed(format!("it has {width}×{height} pixels, and at most {MAX_PIXELS} are read")));
            }
            // Memory of the image as decoded, rotated, converted, and divided into planes.
            let pixels = u64::from(width) * u64::from(height);
            let memory = 2 * decoder.total_bytes() + if colors == Color::Rgb { 6 * pixels } else { pixels };
            if memory > MAX_MEMORY {
                return Err(failed(format!("it would take {memory} bytes, and at most {MAX_MEMORY} are used")));
            }
            let orientation = decoder.orientation().map_err(|error| failed(error.to_string()))?;
            let mut image = DynamicImage::from_decoder(decoder).map_err(|error| failed(error.to_string()))?;
            image.apply_orientation(orientation);
            let (width, height) = (image.width() as usize, image.height() as usize);
            Ok(match colors {
                Color::Gray => Image { shape: [1, height, width], values: Values::U8(image.into_luma8().into_raw()) },
                Color::Rgb => {
                    let interleaved = image.into_rgb8().into_raw();
                    let mut planes = Vec::with_capacity(interleaved.len());
                    (0..3).for_each(|channel| planes.extend(interleaved.iter().skip(channel).step_by(3)));
                    Image { shape: [3, height, width], values: Values::U8(planes) }
                }
            })
        }
    }

    /// Whether a JPEG ends with its end marker, possibly followed by padding.
    fn ends_with_marker(bytes: &[u8]) -> bool {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes[..end].ends_with(&[0xff, 0xd9])
    }
}

#[cfg(feature = "images")]
pub use decode::Color;
