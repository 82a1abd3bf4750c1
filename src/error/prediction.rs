//! Why a prediction cannot be made.

/// Why a prediction cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionError {
    /// A model's output for a sample is NaN or infinite.
    #[error("an output of the model is {output}: the sample has values that are no numbers, or the weights have")]
    NonFiniteOutput {
        /// The output.
        output: f32,
    },
    /// A model's output has not one row per sample.
    #[error("the model's output has shape {actual:?}, but has to have {samples} rows, one per sample")]
    OutputShape {
        /// Shape of the output.
        actual: Vec<i64>,
        /// Number of samples that went through the model.
        samples: usize,
    },
    /// The operating system did not start the thread of a predictor.
    #[error("cannot start the thread of a predictor")]
    Start {
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A model panicked.
    #[error("the model panicked: {message}")]
    ModelPanicked {
        /// What the panic said.
        message: String,
    },
    /// More wait for answers than may wait.
    #[error("the queue is full: {limit} samples wait already")]
    QueueFull {
        /// The most that may wait.
        limit: usize,
    },
    /// A predictor was asked after its end.
    #[error("the predictor has ended")]
    Stopped,
}
