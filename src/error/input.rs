//! Why a model does not accept an input.

/// Why a model does not accept an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The input has the wrong rank or number of channels.
    #[error("the input has shape {actual:?}, but has to have shape {expected}")]
    InputShape {
        /// The shape of the input.
        actual: Vec<i64>,
        /// The expected shape, such as "[N, 3, H, W]".
        expected: String,
    },
    /// The input has another dtype, device or layout than a model's variables.
    #[error("the input is a tensor of {actual}, but has to be one of {expected}, as the variables are")]
    IncompatibleTensor {
        /// The dtype and device of the input, such as "Uint8 on cpu".
        actual: String,
        /// The dtype and device of the variables.
        expected: String,
    },
    /// libtorch traces the model, whose variables require a gradient.
    #[error("variables that require a gradient cannot be traced: call VarStore::freeze before")]
    TracedVariables,
    /// The image is so small that the output of a layer is empty.
    #[error(
        "input {height}×{width} is too small: nothing is left of it at {layer}; the smallest input is {smallest}×{smallest}"
    )]
    InputTooSmall {
        /// Height of the input in pixels.
        height: usize,
        /// Width of the input in pixels.
        width: usize,
        /// The first layer with an empty output.
        layer: String,
        /// The smallest side of an image that works, in pixels.
        smallest: usize,
    },
    /// A training batch leaves a norm one value per channel, whose variance is undefined.
    #[error(
        "a training batch of {batch} at {height}×{width} leaves {layer} one value per channel, which cannot be \
         normalized: use larger batches, drop the last one, or use larger images"
    )]
    OneValuePerChannel {
        /// The number of samples in the batch.
        batch: usize,
        /// Height of the input in pixels.
        height: usize,
        /// Width of the input in pixels.
        width: usize,
        /// The first norm with one value per channel.
        layer: String,
    },
    /// A sample has an unexpected shape, or a number of values that is not that of its shape.
    #[error("a sample has the shape {actual:?}, but is to have {expected}")]
    SampleShape {
        /// The shape of the sample, after preprocessing where that changes it.
        actual: Vec<usize>,
        /// The expected shape or number of values, in words.
        expected: String,
    },
}
