//! Feature maps and their batch statistics.

use tch::{Kind, Tensor};

/// Mean and `1/√(var + ε)` of each channel of some features, over samples and pixels.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// Mean per channel, `[C]`.
    pub mean: Tensor,
    /// `1/√(var + ε)`, `[C]`, with the biased variance and the ε of the norms that use it.
    pub rstd: Tensor,
}

impl Statistics {
    /// Computes the batch statistics of features `[N, C, H, W]`, differentiably.
    pub fn of(features: &Tensor, epsilon: f64) -> Self {
        let axes = [0, 2, 3].as_slice();
        let variance = features.var_dim(axes, false, false);
        Statistics { mean: features.mean_dim(axes, false, None::<Kind>), rstd: (variance + epsilon).rsqrt() }
    }

    /// Copies the current running statistics of a norm in f64. Later updates of the norm do not change the copy.
    pub fn running(mean: &Tensor, variance: &Tensor, epsilon: f64) -> Self {
        let variance = variance.detach().to_kind(Kind::Double);
        let mean = mean.detach().copy().to_kind(Kind::Double);
        Statistics { mean, rstd: (variance + epsilon).sqrt().reciprocal() }
    }

    /// Converts the statistics to another dtype.
    pub fn to_kind(&self, kind: Kind) -> Self {
        Statistics { mean: self.mean.to_kind(kind), rstd: self.rstd.to_kind(kind) }
    }

    /// Returns the statistics of the first channels.
    pub fn first(&self, channels: usize) -> Self {
        let first = |tensor: &Tensor| tensor.narrow(0, 0, channels as i64);
        Statistics { mean: first(&self.mean), rstd: first(&self.rstd) }
    }
}

/// Feature maps that one part of a network passes to the next.
///
/// In a dense block many norms read the same channels, and the batch statistics of a channel do not depend on the
/// reader. A part that knows the statistics of its output passes them on in this type; without them each reader
/// computes its own, with the same result.
#[derive(Debug)]
pub struct Features {
    /// The values, `[N, C, H, W]`.
    pub data: Tensor,
    /// The batch statistics of `data` where the part that computed it knew them, and the ε in them. They are
    /// differentiable, like `data`.
    statistics: Option<(Statistics, f64)>,
}

impl Features {
    /// Wraps values `[N, C, H, W]` whose batch statistics are not known yet.
    pub fn new(data: Tensor) -> Self {
        Features { data, statistics: None }
    }

    /// Wraps values with their batch statistics for norms with this ε.
    pub(crate) fn with_statistics(data: Tensor, statistics: Statistics, epsilon: f64) -> Self {
        Features { data, statistics: Some((statistics, epsilon)) }
    }

    /// Returns the batch statistics for norms with this ε; `None` where they are not known.
    pub(crate) fn statistics(&self, epsilon: f64) -> Option<&Statistics> {
        self.statistics.as_ref().filter(|(_, own)| *own == epsilon).map(|(statistics, _)| statistics)
    }
}
