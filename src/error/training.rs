//! Errors that end a training run.

/// Errors that end a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss of a step is NaN or infinite. The variables were not updated by that step.
    #[error(
        "the loss is {loss} in step {step} of epoch {epoch}: lower the learning rate, or look for bad values in the data"
    )]
    NonFiniteLoss {
        /// The value of the loss.
        loss: f64,
        /// The 1-based index of the epoch.
        epoch: usize,
        /// The 1-based index of the step in that epoch.
        step: usize,
    },
    /// The loss of a batch in evaluation is NaN or infinite.
    #[error("the loss is {loss} in evaluation, in the batch that begins at sample {samples}")]
    NonFiniteEvaluation {
        /// The value of the loss.
        loss: f64,
        /// The number of samples evaluated before that batch.
        samples: usize,
    },
    /// The loss function returned a tensor that is no scalar.
    #[error("the loss has shape {shape:?}, but has to be a scalar: take its mean")]
    LossShape {
        /// The shape of the loss.
        shape: Vec<i64>,
    },
    /// The loss function returned a weight by which no mean can be formed.
    #[error("the weight of the loss of a batch is {weight}, but has to be a finite number of 0 or more")]
    LossWeight {
        /// The weight of the batch.
        weight: f64,
    },
}
