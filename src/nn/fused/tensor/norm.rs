//! Batch normalization by the operations that libtorch has for its parts on GPUs: statistics, normalization, sums,
//! gradient. It has none of them for the CPU, where equivalent tensor operations stand in, so that the tests of this
//! backend run on any machine.

use super::super::block::{Stage, wide_kind};
use crate::nn::Statistics;
use tch::{Kind, Tensor};

/// Computes the batch statistics of features `[N, C, H, W]` in channels-last memory format, in the dtype of
/// computations.
pub(super) fn statistics(x: &Tensor, epsilon: f64) -> Statistics {
    if x.device().is_cuda() {
        let (mean, rstd) = x.batch_norm_stats(epsilon);
        return Statistics { mean, rstd };
    }
    Statistics::of(&x.to_kind(wide_kind(x)), epsilon)
}

/// A norm of `[N, C, H, W]` in channels-last memory format, and ReLU.
pub(super) struct Norm<'a> {
    gamma: &'a Tensor,
    beta: &'a Tensor,
    pub statistics: Statistics,
}

/// The sums of a norm's backward pass over each channel: Σ g and Σ g·(x − μ), `[C]` each.
pub(super) struct Sums {
    pub shift: Tensor,
    pub scale: Tensor,
}

impl<'a> Norm<'a> {
    /// Creates the norm of a stage from the statistics of the channels that it reads.
    pub fn of(stage: &'a Stage, statistics: &Statistics) -> Self {
        Norm { gamma: &stage.gamma, beta: &stage.beta, statistics: statistics.first(stage.in_channels()) }
    }

    /// Returns the factor γ·r, `[C]`.
    pub fn scale(&self) -> Tensor {
        self.gamma * &self.statistics.rstd
    }

    /// Computes ReLU(norm(x)) in the dtype of `x`.
    pub fn relu(&self, x: &Tensor) -> Tensor {
        let Statistics { mean, rstd } = &self.statistics;
        if x.device().is_cuda() {
            // ε is in `rstd` already; the argument is not used.
            return x.batch_norm_elemt(Some(self.gamma), Some(self.beta), mean, rstd, 0.0).relu_();
        }
        let z = (x.to_kind(wide_kind(x)) - channels(mean)) * channels(&self.scale()) + channels(self.beta);
        z.to_kind(x.kind()).relu_()
    }

    /// Returns the sums of the gradient `g` of norm(x).
    pub fn sums(&self, g: &Tensor, x: &Tensor) -> Sums {
        let Statistics { mean, rstd } = &self.statistics;
        if x.device().is_cuda() {
            let (shift, scale, ..) = x.batch_norm_backward_reduce(g, mean, rstd, Some(self.gamma), true, false, false);
            return Sums { shift, scale };
        }
        let (wide, axes) = (wide_kind(x), [0, 2, 3].as_slice());
        let (x, g) = (x.to_kind(wide), g.to_kind(wide));
        Sums {
            shift: g.sum_dim_intlist(axes, false, None::<Kind>),
            scale: (g * (x - channels(mean))).sum_dim_intlist(axes, false, None::<Kind>),
        }
    }

    /// Returns the gradient of `x` from the gradient `g` of norm(x). With batch statistics, which are functions of `x`,
    /// `count` is the number of values per channel, one integer on the device.
    pub fn gradient(&self, g: &Tensor, x: &Tensor, sums: &Sums, count: Option<&Tensor>) -> Tensor {
        let (Statistics { mean, rstd }, Sums { shift, scale }) = (&self.statistics, sums);
        let Some(count) = count else { return (g * channels(&self.scale())).to_kind(x.kind()) };
        if x.device().is_cuda() {
            return x.batch_norm_backward_elemt(g, mean, rstd, Some(self.gamma), shift, scale, count);
        }
        let wide = wide_kind(x);
        let slope = rstd.square() * scale / count;
        let centered = g.to_kind(wide) - channels(&(shift / count));
        let gradient = centered - (x.to_kind(wide) - channels(mean)) * channels(&slope);
        (gradient * channels(&self.scale())).to_kind(x.kind())
    }
}

/// Reshapes values `[C]` so that they broadcast over features.
pub(super) fn channels(values: &Tensor) -> Tensor {
    values.view([1, -1, 1, 1])
}
