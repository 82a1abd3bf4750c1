//! Test-time augmentation: outputs averaged over several views of each image.

use crate::error::InputError;
use crate::models::Model;
use crate::nn::ForwardContext;
use crate::torch::no_grad;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

/// Averaging of a model's outputs over several views of each image, in evaluation and prediction.
///
/// Views are made of the preprocessed batch, on the device. Each costs a forward pass. Training is not affected.
///
/// # Source
///
/// Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU (2024), section 3.5: mirrored images, and images moved by
/// one pixel up and left or down and right, with reflection. There the moved views have a smaller weight; here all
/// count equally.
///
/// # Examples
///
/// ```
/// use densenet::TrainConfig;
/// use densenet::train::TestTimeAugment;
///
/// let config = TrainConfig::new(200).with_test_time_augment(TestTimeAugment::new().with_flip().with_shift(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestTimeAugment {
    /// Whether each view is used mirrored, too.
    pub(crate) flip: bool,
    /// Number of pixels by which images are moved, from 0 to below their sides. 0 for no moved views. Default: 0.
    pub shift: usize,
    /// The outputs that are averaged. Default: logits.
    pub average: Average,
}

/// The outputs that are averaged over the views of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Average {
    /// The outputs as they are: logits, or the values of a regression.
    #[default]
    Outputs,
    /// The softmax probabilities of logits `[N, classes]`. The logarithm of their mean takes the logits' place.
    Probabilities,
}

impl TestTimeAugment {
    /// Creates an augmentation with one view, the image itself: the same as none.
    pub fn new() -> Self {
        TestTimeAugment::default()
    }

    /// Adds views that are mirrored left to right.
    #[must_use]
    pub fn with_flip(self) -> Self {
        TestTimeAugment { flip: true, ..self }
    }

    /// Adds views that are moved by this many pixels up and left, and down and right; the image is reflected at its
    /// borders.
    #[must_use]
    pub fn with_shift(self, pixels: usize) -> Self {
        TestTimeAugment { shift: pixels, ..self }
    }

    /// Sets the outputs that are averaged. Default: logits.
    #[must_use]
    pub fn with_average(self, average: Average) -> Self {
        TestTimeAugment { average, ..self }
    }

    /// Whether the image itself is the only view.
    pub(super) fn is_none(&self) -> bool {
        !self.flip && self.shift == 0
    }

    /// Runs a model on all views of a batch, and averages its outputs. Computes no gradient.
    ///
    /// # Errors
    ///
    /// The model's own; [`InputError::SampleShape`] for inputs that are not images, or not larger than the shift.
    pub(crate) fn forward(&self, model: &dyn Model, inputs: &Tensor, context: &ForwardContext) -> Result<Tensor> {
        let forward = |inputs: &Tensor| no_grad(|| model.forward(inputs, context));
        if self.is_none() {
            return forward(inputs);
        }
        self.check(&inputs.size())?;
        let views = self.views(inputs).map_err(Error::libtorch("views of an image"))?;
        let outputs: Vec<Tensor> = views.iter().map(forward).collect::<Result<_>>()?;
        self.averaged(&outputs).map_err(Error::libtorch("average of outputs"))
    }

    /// Checks that inputs of this shape have all views.
    pub(super) fn check(&self, shape: &[i64]) -> Result<()> {
        let is_large = matches!(shape, &[_, _, height, width] if height.min(width) as u64 > self.shift as u64);
        if self.is_none() || is_large {
            return Ok(());
        }
        let actual = shape.iter().skip(1).map(|&size| size as usize).collect();
        let expected = format!("[C, H, W], larger than {} pixels a side for test-time augmentation", self.shift);
        Err(Error::Input(InputError::SampleShape { actual, expected }))
    }

    /// Returns all views `[N, C, H, W]`, the images themselves first.
    fn views(&self, inputs: &Tensor) -> Result<Vec<Tensor>, TchError> {
        let mut views = vec![inputs.shallow_clone()];
        if self.shift > 0 {
            let (size, shift) = (inputs.size(), self.shift as i64);
            let padded = inputs.f_reflection_pad2d([shift; 4])?;
            for start in [0, 2 * shift] {
                views.push(padded.f_narrow(2, start, size[2])?.f_narrow(3, start, size[3])?);
            }
        }
        if self.flip {
            let mirrored = views.iter().map(|view| view.f_flip([-1])).collect::<Result<Vec<_>, _>>()?;
            views.extend(mirrored);
        }
        Ok(views)
    }

    fn averaged(&self, outputs: &[Tensor]) -> Result<Tensor, TchError> {
        let kind = outputs[0].kind();
        // Sums of bf16 would lose bits.
        let sum_kind = if kind == Kind::Double { kind } else { Kind::Float };
        let stacked = Tensor::f_stack(outputs, 0)?.f_to_kind(sum_kind)?;
        let mean = match self.average {
            Average::Outputs => stacked.f_mean_dim([0_i64].as_slice(), false, None)?,
            Average::Probabilities => {
                let views = (outputs.len() as f64).ln();
                stacked.f_log_softmax(-1, None)?.f_logsumexp([0_i64].as_slice(), false)?.f_sub_scalar(views)?
            }
        };
        mean.f_to_kind(kind)
    }
}
