//! Single images in plain memory; `decode` reads them from files.

#[cfg(feature = "images")]
mod bmp;
#[cfg(feature = "images")]
mod decode;
#[cfg(feature = "images")]
mod exif;
#[cfg(feature = "images")]
mod file;
mod fit;
#[cfg(feature = "images")]
mod fit_pixels;
#[cfg(feature = "images")]
mod gif;
#[cfg(feature = "images")]
mod jpeg;
mod pixels;
#[cfg(feature = "images")]
mod png;
#[cfg(feature = "images")]
mod resize;

#[cfg(feature = "images")]
pub(super) use decode::luma;
#[cfg(feature = "images")]
pub use decode::{Alpha, Color, ImageHeader};
pub use fit::{Fit, Interpolation};
pub(crate) use pixels::{Pixels, Rectangle};

use super::Values;
use crate::error::InputError;
use crate::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

/// The longest side of an image in pixels.
pub(super) const MAX_SIDE: usize = 16_384;

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
