//! Why a model cannot take an input.

/// Why a model cannot take an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// An input of the wrong rank or number of channels.
    #[error("the input has shape {actual:?}, but has to have shape {expected}")]
    InputShape {
        /// The shape that was given.
        actual: Vec<i64>,
        /// The shape that was wanted, such as "[N, 3, H, W]".
        expected: String,
    },
    /// An image so small that a layer has nothing left.
    #[error(
        "input {height}×{width} is too small: nothing is left of it at {layer}; the smallest input is {smallest}×{smallest}"
    )]
    InputTooSmall {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// The first layer with an empty output.
        layer: String,
        /// The smallest side in pixels that works.
        smallest: usize,
    },
    /// A training batch that leaves a norm one value per channel, whose variance is undefined.
    #[error(
        "a training batch of {batch} at {height}×{width} leaves {layer} one value per channel, which cannot be \
         normalized: use larger batches, drop the last one, or use larger images"
    )]
    OneValuePerChannel {
        /// Samples in the batch.
        batch: usize,
        /// Height of the input in pixels.
        height: usize,
        /// Width of the input in pixels.
        width: usize,
        /// The first norm concerned.
        layer: String,
    },
    /// A sample of another shape than what is expected, or with other values than its shape says.
    #[error("a sample has the shape {actual:?}, but is to have {expected}")]
    SampleShape {
        /// The shape that was given, or that preprocess made of it.
        actual: Vec<usize>,
        /// What was expected.
        expected: String,
    },
}
