//! Why a training run cannot continue.

/// Why a training run cannot continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss of a step was NaN or infinite. The step's update was not made.
    #[error(
        "the loss is {loss} in step {step} of epoch {epoch}: lower the learning rate, or look for bad values in the data"
    )]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in that epoch, from 1.
        step: usize,
    },
    /// The loss of a batch in evaluation was NaN or infinite.
    #[error("the loss is {loss} in evaluation, in the batch that begins at sample {samples}")]
    NonFiniteEvaluation {
        /// The loss.
        loss: f64,
        /// Samples evaluated before that batch.
        samples: usize,
    },
    /// A loss that is no scalar.
    #[error("the loss has shape {shape:?}, but has to be a scalar: take its mean")]
    LossShape {
        /// Its shape.
        shape: Vec<i64>,
    },
}
