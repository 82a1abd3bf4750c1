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
    /// A batch of samples, after preprocessing, has values that are NaN or infinite, and so has its loss.
    #[error("the batch that begins at sample {samples} has values that are not finite")]
    NonFiniteInput {
        /// The number of samples of the epoch, or of the evaluation, before the batch.
        samples: usize,
    },
    /// A gradient of a step is NaN or infinite. The variables were not updated by that step.
    #[error(
        "the gradient of {variable} has values that are not finite in step {step} of epoch {epoch}: lower the learning \
         rate, or look for bad values in the data"
    )]
    NonFiniteGradient {
        /// The name of the first such variable.
        variable: String,
        /// The 1-based index of the epoch.
        epoch: usize,
        /// The 1-based index of the step in that epoch.
        step: usize,
    },
    /// A step would make a running statistic NaN or infinite. The step has changed nothing.
    #[error("{variable} would not be finite after step {step} of epoch {epoch}: look for bad values in the data")]
    NonFiniteStatistic {
        /// The name of the first such running statistic.
        variable: String,
        /// The 1-based index of the epoch.
        epoch: usize,
        /// The 1-based index of the step in that epoch.
        step: usize,
    },
    /// No step of an epoch had finite values, so that all of them were skipped.
    #[error("no step of epoch {epoch} had a finite loss and finite gradients: lower the learning rate")]
    NoFiniteStep {
        /// The 1-based index of the epoch.
        epoch: usize,
    },
    /// A variable, or a tensor of the optimizer, has values that are not finite, and is not saved.
    #[error("{variable} has values that are not finite, so that the state is not saved: lower the learning rate")]
    NonFiniteVariable {
        /// The name of the variable.
        variable: String,
    },
    /// An earlier call of `fit` failed in the middle of an update, and there are no checkpoints to resume from.
    #[error("an earlier call of fit failed in the middle of an update, so that the run cannot continue")]
    IncompleteUpdate,
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
