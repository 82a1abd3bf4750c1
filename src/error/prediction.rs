//! Errors in making a prediction.

/// Errors in making a prediction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionError {
    /// A model's output for a sample is NaN or infinite.
    #[error("an output of the model is {output}: the sample has values that are no numbers, or the weights have")]
    NonFiniteOutput {
        /// The value of the output.
        output: f32,
    },
    /// The model's output does not have one row per sample.
    #[error("the model's output has shape {actual:?}, but has to have {samples} rows, one per sample")]
    OutputShape {
        /// The shape of the output.
        actual: Vec<i64>,
        /// Number of samples that were predicted together.
        samples: usize,
    },
    /// The operating system did not start the thread of a predictor.
    #[error("cannot start the thread of a predictor")]
    Start {
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The model panicked during a prediction.
    #[error("the model panicked: {message}")]
    ModelPanicked {
        /// The message of the panic.
        message: String,
    },
    /// The queue of waiting requests is full.
    #[error("the queue is full: at most {limit} {counted} may wait")]
    QueueFull {
        /// The largest number that may wait.
        limit: usize,
        /// What the limit counts: `images`, or the `values` of all images.
        counted: &'static str,
    },
    /// The predictor was shut down before the request.
    #[error("the predictor has ended")]
    Stopped,
}
