//! Feature maps and the statistics that travel with them.

use tch::{Kind, Tensor};

/// Batch statistics of each channel of some features, over samples and pixels.
#[derive(Debug)]
pub struct Statistics {
    /// Mean `[C]`.
    pub mean: Tensor,
    /// `1/√(var + ε)` `[C]`, with the biased variance and the ε of all norms that read these features.
    pub rstd: Tensor,
}

/// What goes from one part of the network to the next.
///
/// In a dense block many norms read the same channels, and the batch statistics of a channel do not depend on who reads it.
/// A writer that knows them hands them on; without them each reader computes its own, with the same result.
#[derive(Debug)]
pub struct Features {
    /// Values `[N, C, H, W]`.
    pub data: Tensor,
    /// The batch statistics of `data` where the writer knew them. They are differentiable, like `data`.
    pub statistics: Option<Statistics>,
}

impl Features {
    /// Values whose statistics nobody has computed.
    pub fn new(data: Tensor) -> Self {
        Features { data, statistics: None }
    }

    /// The statistics of `data`, computed here: the mean and `1/√(var + ε)` of each channel.
    pub fn with_statistics(data: Tensor, epsilon: f64) -> Self {
        let axes = [0, 2, 3].as_slice();
        let mean = data.mean_dim(axes, false, None::<Kind>);
        let variance = data.var_dim(axes, false, false);
        let rstd = (variance + epsilon).rsqrt();
        Features { data, statistics: Some(Statistics { mean, rstd }) }
    }
}
