//! From a batch in plain memory to tensors on the training device.

use super::{Batch, Targets, Values};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The size that images are brought to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Resize {
    /// As they are.
    #[default]
    Keep,
    /// To this height and width in pixels, bilinear with half-pixel centers, without antialiasing.
    Bilinear([usize; 2]),
}

/// How values are shifted and scaled, channel by channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Normalization {
    /// As they are.
    #[default]
    Keep,
    /// (x − mean)/sd, one mean and one standard deviation a channel, in units of the scaled values.
    MeanStd {
        /// One a channel.
        mean: Vec<f64>,
        /// One a channel, each positive.
        sd: Vec<f64>,
    },
}

/// What happens to a whole batch on the training device: bytes become numbers in [0, 1], then come resizing and
/// normalization.
///
/// # Examples
///
/// ```
/// use densenet::data::{Batch, Preprocess, Targets, Values};
/// use densenet::tch::Device;
///
/// let batch = Batch {
///     sample_shape: vec![1, 2, 2],
///     values: Values::U8(vec![0, 51, 102, 255]),
///     targets: Targets::Classes(vec![7]),
/// };
/// let (x, y) = Preprocess::new().with_size([4, 4]).tensors(&batch, Device::Cpu)?;
/// assert_eq!((x.size(), y.size()), (vec![1, 1, 4, 4], vec![1]));
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preprocess {
    /// Default: as they are.
    pub resize: Resize,
    /// Default: as they are.
    pub normalization: Normalization,
}

impl Preprocess {
    /// Bytes divided by 255, f32 values as they are; nothing else.
    pub fn new() -> Self {
        Preprocess::default()
    }

    setters! {
        with_resize => resize: Resize,
        with_normalization => normalization: Normalization,
    }

    /// Sets [`resize`](Self::resize) to bilinear with this height and width in pixels.
    #[must_use]
    pub fn with_size(self, size: [usize; 2]) -> Self {
        self.with_resize(Resize::Bilinear(size))
    }

    /// The shape of one prepared sample.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] where samples of this shape cannot be prepared so.
    pub fn output_shape(&self, sample_shape: &[usize]) -> Result<Vec<usize>> {
        let invalid = |field, value: String, expected| Err(Error::InvalidConfig { field, value, expected });
        if let Normalization::MeanStd { mean, sd } = &self.normalization {
            let channels = sample_shape.first().copied().unwrap_or(0);
            if mean.len() != channels || sd.len() != channels {
                let value = format!("{} means and {} deviations for {channels} channels", mean.len(), sd.len());
                return invalid("normalization", value, "one mean and one standard deviation a channel");
            }
            if !(mean.iter().all(|m| m.is_finite()) && sd.iter().all(|s| s.is_finite() && *s > 0.0)) {
                return invalid(
                    "normalization",
                    format!("{mean:?} and {sd:?}"),
                    "finite means and positive deviations",
                );
            }
        }
        match (self.resize, sample_shape) {
            (Resize::Keep, shape) => Ok(shape.to_vec()),
            (Resize::Bilinear([height, width]), &[channels, _, _])
                if (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width) =>
            {
                Ok(vec![channels, height, width])
            }
            (Resize::Bilinear([height, width]), shape) => {
                let value = format!("{height}×{width} for samples of shape {shape:?}");
                invalid("size", value, "1 to 16384 pixels a side, for samples of shape [C, H, W]")
            }
        }
    }

    /// The batch's inputs `[N, …]` as f32 and its targets: classes as i64 `[N]`, values as f32 `[N, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Libtorch`].
    pub fn tensors(&self, batch: &Batch, device: Device) -> Result<(Tensor, Tensor)> {
        let input = self.inputs(&batch.values, &batch.sample_shape, batch.len(), device)?;
        let targets = match &batch.targets {
            Targets::Classes(classes) => {
                let classes: Vec<i64> = classes.iter().map(|&class| class.into()).collect();
                Tensor::from_slice(&classes)
            }
            Targets::Values { data, width } => Tensor::from_slice(data).view([batch.len() as i64, *width as i64]),
        };
        Ok((input, targets.to_device(device)))
    }

    fn inputs(&self, values: &Values, sample_shape: &[usize], samples: usize, device: Device) -> Result<Tensor> {
        self.output_shape(sample_shape)?;
        let shape: Vec<i64> = [samples].iter().chain(sample_shape).map(|&size| size as i64).collect();
        let flat = match values {
            Values::U8(bytes) => Tensor::from_slice(bytes).to_device(device).to_kind(Kind::Float) / 255.0,
            Values::F32(numbers) => Tensor::from_slice(numbers).to_device(device),
        };
        let mut x = flat.f_view(shape.as_slice()).map_err(|error| libtorch("a batch's shape", error))?;
        if let Resize::Bilinear([height, width]) = self.resize
            && shape[2..] != [height as i64, width as i64]
        {
            x = x
                .f_upsample_bilinear2d([height as i64, width as i64], false, None, None)
                .map_err(|error| libtorch("resizing", error))?;
        }
        if let Normalization::MeanStd { mean, sd } = &self.normalization {
            let per_channel: Vec<i64> = (0..shape.len()).map(|axis| if axis == 1 { -1 } else { 1 }).collect();
            let per_channel =
                |v: &[f64]| Tensor::from_slice(v).to_kind(Kind::Float).to_device(device).view(per_channel.as_slice());
            x = (x - per_channel(mean)) / per_channel(sd);
        }
        Ok(x)
    }
}

/// The longest side of an image in pixels.
const MAX_SIDE: usize = 16_384;

fn libtorch(what: &'static str, error: tch::TchError) -> Error {
    Error::Libtorch { what, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bilinear_has_half_pixel_centers() {
        // 1×2 to 1×4: centers at −0.25, 0.25, 0.75, 1.25 of the old pixels, clamped at the borders.
        let preprocess = Preprocess::new().with_size([1, 4]);
        let x = preprocess.inputs(&Values::F32(vec![0.0, 1.0]), &[1, 1, 2], 1, Device::Cpu).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.view(-1)).unwrap(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn normalization_is_per_channel() {
        let normalization = Normalization::MeanStd { mean: vec![0.0, 0.5], sd: vec![1.0, 0.5] };
        let preprocess = Preprocess::new().with_normalization(normalization);
        let x = preprocess.inputs(&Values::U8(vec![0, 255, 255, 0]), &[2, 1, 2], 1, Device::Cpu).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.view(-1)).unwrap(), [0.0, 1.0, 1.0, -1.0]);
    }

    #[test]
    fn what_does_not_fit_the_samples_is_an_error() {
        let two_channels = Normalization::MeanStd { mean: vec![0.0; 2], sd: vec![1.0; 2] };
        let no_width = Normalization::MeanStd { mean: vec![0.0], sd: vec![0.0] };
        for preprocess in [
            Preprocess::new().with_size([0, 4]),
            Preprocess::new().with_size([4, 1 << 20]),
            Preprocess::new().with_normalization(two_channels),
            Preprocess::new().with_normalization(no_width),
        ] {
            assert!(matches!(preprocess.output_shape(&[1, 2, 2]), Err(Error::InvalidConfig { .. })), "{preprocess:?}");
        }
        assert!(Preprocess::new().with_size([4, 4]).output_shape(&[8]).is_err());
    }
}
