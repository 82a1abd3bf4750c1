//! Loss functions, the objectives of training.

use crate::error::TrainingError;
use crate::{Error, Result};
use tch::{Reduction, Tensor};

/// A loss function, which training minimizes. Any closure from outputs and targets to a scalar tensor is a loss
/// function.
pub trait Loss {
    /// Computes the mean loss over the batch, as a scalar tensor.
    ///
    /// # Errors
    ///
    /// Errors of libtorch, such as for a class index beyond the outputs.
    fn mean(&self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor>;
}

/// Softmax cross-entropy of logits `[N, classes]` against class indices `[N]` or probabilities `[N, classes]`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CrossEntropy;

impl Loss for CrossEntropy {
    fn mean(&self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        outputs
            .f_cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0)
            .map_err(Error::libtorch("cross-entropy"))
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Tensor> Loss for F {
    fn mean(&self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let loss = self(outputs, targets);
        if loss.numel() != 1 {
            return Err(Error::Training(TrainingError::LossShape { shape: loss.size() }));
        }
        Ok(loss)
    }
}
