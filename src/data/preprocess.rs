//! Conversion of a batch in plain memory to tensors on the training device.

use super::image::MAX_SIDE;
use super::{Batch, Targets, Values};
use crate::torch::check_device;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The mean and the standard deviation by which each channel is shifted and scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Normalize {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

impl Normalize {
    fn check(&self, channels: usize) -> Result<()> {
        let Normalize { mean, std } = self;
        let invalid = |value: String, expected| Err(Error::invalid_value("normalization", value, expected));
        if mean.len() != channels || std.len() != channels {
            let value = format!("{} means and {} standard deviations for {channels} channels", mean.len(), std.len());
            return invalid(value, "one mean and one standard deviation per channel");
        }
        if !(mean.iter().all(|mean| mean.is_finite()) && std.iter().all(|std| std.is_finite() && *std > 0.0)) {
            return invalid(format!("{mean:?} and {std:?}"), "finite means and positive standard deviations");
        }
        Ok(())
    }
}

/// Preprocessing of whole batches on the training device: scaling of bytes to [0, 1], then resizing and normalization.
///
/// # Examples
///
/// ```
/// use densenet::data::{Batch, Preprocess, Targets, Values};
/// use densenet::tch::Device;
///
/// let batch = Batch::new([1, 2, 2], vec![0_u8, 51, 102, 255], Targets::Classes(vec![7]));
/// let preprocess = Preprocess::new().with_size([4, 4]).with_normalize([0.5], [0.25]);
/// let (x, y) = preprocess.tensors(&batch, Device::Cpu)?;
/// assert_eq!((x.size(), y.size()), (vec![1, 1, 4, 4], vec![1]));
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preprocess {
    /// Height and width in pixels, from 1 to 16,384, to which images are resized: bilinearly, with half-pixel centers
    /// and without antialiasing. Default: `None`, which keeps their size.
    pub resize: Option<[usize; 2]>,
    /// Normalization of each channel; `None` keeps the values.
    pub(crate) normalize: Option<Normalize>,
}

impl Preprocess {
    /// Creates preprocessing that divides bytes by 255, keeps f32 values, and does nothing else.
    pub fn new() -> Self {
        Preprocess::default()
    }

    /// Sets the height and width in pixels to which images are [resized](Self::resize).
    #[must_use]
    pub fn with_size(mut self, size: [usize; 2]) -> Self {
        self.resize = Some(size);
        self
    }

    /// Normalizes each channel to `(x − mean) / std`, by one mean and one positive standard deviation per channel, in
    /// units of the values; bytes are scaled to [0, 1] before. Default: without.
    ///
    /// # Examples
    ///
    /// The normalization that most pretrained ImageNet weights expect:
    ///
    /// ```
    /// use densenet::Preprocess;
    ///
    /// let preprocess = Preprocess::new().with_normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    /// ```
    #[must_use]
    pub fn with_normalize(mut self, mean: impl Into<Vec<f64>>, std: impl Into<Vec<f64>>) -> Self {
        self.normalize = Some(Normalize { mean: mean.into(), std: std.into() });
        self
    }

    /// Returns the shape of a sample after preprocessing.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) where samples of this shape cannot be
    /// preprocessed by this configuration.
    pub fn output_shape(&self, sample_shape: &[usize]) -> Result<Vec<usize>> {
        if let Some(normalize) = &self.normalize {
            normalize.check(sample_shape.first().copied().unwrap_or(0))?;
        }
        match (self.resize, sample_shape) {
            (None, shape) => Ok(shape.to_vec()),
            (Some(size), &[channels, _, _]) if size.iter().all(|side| (1..=MAX_SIDE).contains(side)) => {
                Ok(vec![channels, size[0], size[1]])
            }
            (Some([height, width]), shape) => {
                let value = format!("{height}×{width} for samples of shape {shape:?}");
                let expected = "1 to 16384 pixels a side, for samples of shape [C, H, W]";
                Err(Error::invalid_value("size", value, expected))
            }
        }
    }

    /// Returns the inputs `[N, …]` of a batch as f32, and its targets: classes as i64 `[N]`, values as f32
    /// `[N, width]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue), [`Error::Libtorch`].
    pub fn tensors(&self, batch: &Batch, device: Device) -> Result<(Tensor, Tensor)> {
        let (values, targets) = raw_tensors(batch, device, false)?;
        Ok((self.apply(values)?, targets))
    }

    /// Preprocesses values `[N, …]` of bytes or f32, on their device.
    pub(crate) fn apply(&self, values: Tensor) -> Result<Tensor> {
        let shape = values.size();
        let sample_shape: Vec<usize> = shape[1..].iter().map(|&size| size as usize).collect();
        self.output_shape(&sample_shape)?;
        let mut x = match values.kind() {
            Kind::Uint8 => values.to_kind(Kind::Float) / 255.0,
            _ => values,
        };
        if let Some([height, width]) = self.resize
            && shape[2..] != [height as i64, width as i64]
        {
            x = x
                .f_upsample_bilinear2d([height as i64, width as i64], false, None, None)
                .map_err(Error::libtorch("resizing"))?;
        }
        if let Some(Normalize { mean, std }) = &self.normalize {
            x = (&x - per_channel(mean, &x)) / per_channel(std, &x);
        }
        Ok(x)
    }
}

#[cfg(feature = "report")]
impl Preprocess {
    /// Undoes the normalization of preprocessed values `[N, C, …]`.
    pub(crate) fn denormalize(&self, x: &Tensor) -> Tensor {
        let Some(Normalize { mean, std }) = &self.normalize else { return x.shallow_clone() };
        x * per_channel(std, x) + per_channel(mean, x)
    }
}

/// Returns one number per channel in a shape that combines with values `[N, C, …]`, on their device.
fn per_channel(numbers: &[f64], x: &Tensor) -> Tensor {
    let shape: Vec<i64> = (0..x.dim()).map(|axis| if axis == 1 { -1 } else { 1 }).collect();
    Tensor::from_slice(numbers).to_kind(Kind::Float).to_device(x.device()).view(shape.as_slice())
}

/// Copies a batch to a device as it is: values `[N, …]` of bytes or f32, classes as i64 `[N]`, target values as f32
/// `[N, width]`. `pinned` copies go to a GPU through page-locked memory, and the caller does not wait for them.
pub(crate) fn raw_tensors(batch: &Batch, device: Device, pinned: bool) -> Result<(Tensor, Tensor)> {
    check_device(device)?;
    let samples = batch.len() as i64;
    let shape: Vec<i64> = [samples].into_iter().chain(batch.sample_shape.iter().map(|&size| size as i64)).collect();
    let values = match &batch.values {
        Values::U8(bytes) => Tensor::from_slice(bytes),
        Values::F32(numbers) => Tensor::from_slice(numbers),
    };
    let values = values.f_view(shape.as_slice()).map_err(Error::libtorch("a batch's shape"))?;
    let targets = match &batch.targets {
        Targets::Classes(classes) => {
            Tensor::from_slice(&classes.iter().map(|&class| class.into()).collect::<Vec<i64>>())
        }
        Targets::Values { data, width } => Tensor::from_slice(data).view([samples, *width as i64]),
    };
    let copy = |tensor: Tensor| match (device, pinned) {
        (Device::Cuda(_), true) => tensor.f_pin_memory(device)?.f_to_device_(device, tensor.kind(), true, false),
        _ => tensor.f_to_device(device),
    };
    let failed = Error::libtorch("copy of a batch to the device");
    copy(values).and_then(|values| Ok((values, copy(targets)?))).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigError;

    #[test]
    fn bilinear_has_half_pixel_centers() {
        // 1×2 to 1×4: centers at −0.25, 0.25, 0.75, 1.25 of the old pixels, clamped at the borders.
        let preprocess = Preprocess::new().with_size([1, 4]);
        let x = preprocess.apply(Tensor::from_slice(&[0.0_f32, 1.0]).view([1, 1, 1, 2])).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.view(-1)).unwrap(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn normalization_is_per_channel() {
        let preprocess = Preprocess::new().with_normalize([0.0, 0.5], [1.0, 0.5]);
        let x = preprocess.apply(Tensor::from_slice(&[0_u8, 255, 255, 0]).view([1, 2, 1, 2])).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.view(-1)).unwrap(), [0.0, 1.0, 1.0, -1.0]);
    }

    #[test]
    fn what_does_not_fit_the_samples_is_an_error() {
        for preprocess in [
            Preprocess::new().with_size([0, 4]),
            Preprocess::new().with_size([4, 1 << 20]),
            Preprocess::new().with_normalize([0.0; 2], [1.0; 2]),
            Preprocess::new().with_normalize([0.0], [0.0]),
        ] {
            assert!(
                matches!(preprocess.output_shape(&[1, 2, 2]), Err(Error::Config(ConfigError::InvalidValue { .. }))),
                "{preprocess:?}"
            );
        }
        assert!(Preprocess::new().with_size([4, 4]).output_shape(&[8]).is_err());
    }
}
