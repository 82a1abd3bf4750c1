//! Loss functions, the objectives of training.

use crate::error::TrainingError;
use crate::{Error, Result};
use serde_json::{Value, json};
use tch::{Reduction, Tensor};

/// The loss of a batch: its mean, and the weight of this mean among those of other batches.
#[derive(Debug)]
pub struct BatchLoss {
    /// The mean loss over the batch, a scalar tensor; training minimizes it.
    pub mean: Tensor,
    /// The number by which the mean over the samples was divided, finite and at least 0: the number of samples, or the
    /// sum of their weights where samples weigh differently. The mean over a data set is the mean of the batches'
    /// means, weighted by this, and so does not depend on the batch size.
    pub weight: f64,
}

/// A loss function, which training minimizes. Any closure from outputs and targets to a scalar tensor is a loss
/// function: the mean over the samples of the batch.
///
/// # Examples
///
/// Cross-entropy with a weight per class:
///
/// ```
/// use densenet::tch::{Kind, Reduction, Tensor};
/// use densenet::train::{BatchLoss, Loss};
///
/// struct Weighted {
///     weights: [f32; 3],
/// }
///
/// impl Loss for Weighted {
///     fn compute(&self, outputs: &Tensor, targets: &Tensor) -> densenet::Result<BatchLoss> {
///         let weights = Tensor::from_slice(&self.weights).to_device(outputs.device());
///         let mean = outputs.cross_entropy_loss(targets, Some(&weights), Reduction::Mean, -100, 0.0);
///         let weight = weights.index_select(0, targets).sum(Kind::Double).double_value(&[]);
///         Ok(BatchLoss { mean, weight })
///     }
///
///     fn configuration(&self) -> serde_json::Value {
///         serde_json::json!({ "weighted cross-entropy": self.weights })
///     }
/// }
/// ```
pub trait Loss {
    /// Computes the loss of a batch from the model's outputs and the targets. Where the training
    /// [mixes](super::Mixing) samples, targets of classes are probabilities `[N, outputs]` in training, and class
    /// indices `[N]` in evaluation.
    ///
    /// # Errors
    ///
    /// Errors of libtorch, such as for a class index beyond the outputs.
    fn compute(&self, outputs: &Tensor, targets: &Tensor) -> Result<BatchLoss>;

    /// Returns the configuration of the loss function as JSON, by which a resumed run is compared with the checkpoint's.
    /// The provided implementation returns the name of the type; a type with settings should add them. All closures of
    /// one function have one name.
    fn configuration(&self) -> Value {
        json!(std::any::type_name::<Self>())
    }
}

/// Softmax cross-entropy of logits `[N, classes]` against class indices `[N]` or probabilities `[N, classes]`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CrossEntropy;

impl Loss for CrossEntropy {
    fn compute(&self, outputs: &Tensor, targets: &Tensor) -> Result<BatchLoss> {
        let mean = outputs
            .f_cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0)
            .map_err(Error::libtorch("cross-entropy"))?;
        Ok(BatchLoss { mean, weight: samples(targets) })
    }

    fn configuration(&self) -> Value {
        json!("cross-entropy")
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Tensor> Loss for F {
    fn compute(&self, outputs: &Tensor, targets: &Tensor) -> Result<BatchLoss> {
        Ok(BatchLoss { mean: self(outputs, targets), weight: samples(targets) })
    }
}

fn samples(targets: &Tensor) -> f64 {
    targets.size().first().map_or(0.0, |&samples| samples as f64)
}

/// Computes the loss of a batch, and checks that it is a scalar with a weight.
///
/// # Errors
///
/// The loss function's own, [`TrainingError::LossShape`], [`TrainingError::LossWeight`].
pub(super) fn checked_loss(loss: &dyn Loss, outputs: &Tensor, targets: &Tensor) -> Result<BatchLoss> {
    let batch = loss.compute(outputs, targets)?;
    if batch.mean.numel() != 1 {
        return Err(Error::Training(TrainingError::LossShape { shape: batch.mean.size() }));
    }
    if !batch.weight.is_finite() || batch.weight < 0.0 {
        return Err(Error::Training(TrainingError::LossWeight { weight: batch.weight }));
    }
    Ok(batch)
}
