//! Batch normalization in the parts that libtorch has for GPUs: statistics, normalization, sums, gradient. It has none of them for the
//! CPU, where compositions stand in, so that what is built of them can be tested without a GPU.

use super::norm::wide_kind;
use tch::{Kind, Tensor};

/// Mean and 1/√(variance + ε) `[C]`, in the kind that is computed with.
#[derive(Debug)]
pub(super) struct DeviceStatistics {
    pub mean: Tensor,
    pub rstd: Tensor,
}

impl DeviceStatistics {
    /// Those of features `[N, C, H, W]` in channels-last order.
    pub fn of(x: &Tensor, epsilon: f64) -> Self {
        if x.device().is_cuda() {
            let (mean, rstd) = x.batch_norm_stats(epsilon);
            return DeviceStatistics { mean, rstd };
        }
        let (x, axes) = (x.to_kind(wide_kind(x)), [0, 2, 3].as_slice());
        let variance = x.var_dim(axes, false, false);
        DeviceStatistics { mean: x.mean_dim(axes, false, None::<Kind>), rstd: (variance + epsilon).rsqrt() }
    }

    /// What a norm keeps for evaluation.
    pub fn running(mean: &Tensor, variance: &Tensor, epsilon: f64) -> Self {
        // A copy: it may move on before the backward pass.
        DeviceStatistics { mean: mean.copy(), rstd: (variance + epsilon).rsqrt() }
    }

    /// Those of the first channels.
    pub fn first(&self, channels: i64) -> Self {
        DeviceStatistics { mean: self.mean.narrow(0, 0, channels), rstd: self.rstd.narrow(0, 0, channels) }
    }
}

/// A norm of `[N, C, H, W]` in channels-last order, and ReLU.
pub(super) struct DeviceNorm<'a> {
    pub gamma: &'a Tensor,
    pub beta: &'a Tensor,
    pub statistics: &'a DeviceStatistics,
}

/// Sums of a norm's backward pass: Σ g and Σ g·(x − μ) of each channel.
pub(super) struct DeviceSums {
    pub shift: Tensor,
    pub scale: Tensor,
}

impl DeviceNorm<'_> {
    /// ReLU(norm(x)), of the kind of `x`.
    pub fn relu(&self, x: &Tensor) -> Tensor {
        let DeviceStatistics { mean, rstd } = self.statistics;
        if x.device().is_cuda() {
            // ε is in `rstd` already; the argument is not used.
            return x.batch_norm_elemt(Some(self.gamma), Some(self.beta), mean, rstd, 0.0).relu_();
        }
        let scale = self.gamma * rstd;
        let z = (x.to_kind(wide_kind(x)) - channels(mean)) * channels(&scale) + channels(self.beta);
        z.to_kind(x.kind()).relu_()
    }

    /// The sums of the gradient `g` of norm(x).
    pub fn sums(&self, g: &Tensor, x: &Tensor) -> DeviceSums {
        let DeviceStatistics { mean, rstd } = self.statistics;
        if x.device().is_cuda() {
            let (shift, scale, ..) = x.batch_norm_backward_reduce(g, mean, rstd, Some(self.gamma), true, false, false);
            return DeviceSums { shift, scale };
        }
        let (wide, axes) = (wide_kind(x), [0, 2, 3].as_slice());
        let (x, g) = (x.to_kind(wide), g.to_kind(wide));
        DeviceSums {
            shift: g.sum_dim_intlist(axes, false, None::<Kind>),
            scale: (g * (x - channels(mean))).sum_dim_intlist(axes, false, None::<Kind>),
        }
    }

    /// The gradient of `x` from that of norm(x), where the statistics are those of `x`. `count` is the number of values a channel, one
    /// whole number on the device.
    pub fn gradient(&self, g: &Tensor, x: &Tensor, sums: &DeviceSums, count: &Tensor) -> Tensor {
        let (DeviceStatistics { mean, rstd }, DeviceSums { shift, scale }) = (self.statistics, sums);
        if x.device().is_cuda() {
            return x.batch_norm_backward_elemt(g, mean, rstd, Some(self.gamma), shift, scale, count);
        }
        let wide = wide_kind(x);
        let slope = rstd.square() * scale / count;
        let centered = g.to_kind(wide) - channels(&(shift / count));
        let gradient = centered - (x.to_kind(wide) - channels(mean)) * channels(&slope);
        (gradient * channels(&(self.gamma * rstd))).to_kind(x.kind())
    }
}

/// Numbers `[C]` as they stand beside features.
pub(super) fn channels(values: &Tensor) -> Tensor {
    values.view([1, -1, 1, 1])
}
