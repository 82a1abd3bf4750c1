//! The constants of norms, as the kernels take them.

use crate::kernels::{Affine, Moments, Real};
use tch::{Kind, Tensor};

/// Mean and 1/√(variance + ε) of channels, in f64.
#[derive(Clone, Debug)]
pub(super) struct ChannelStatistics {
    pub mean: Vec<f64>,
    pub rstd: Vec<f64>,
}

impl ChannelStatistics {
    pub fn new(moments: &Moments, epsilon: f64) -> Self {
        ChannelStatistics {
            mean: moments.mean().to_vec(),
            rstd: moments.variance().map(|v| rstd(v, epsilon)).collect(),
        }
    }

    pub fn of(mean: &Tensor, rstd: &Tensor) -> Self {
        ChannelStatistics { mean: numbers(mean), rstd: numbers(rstd) }
    }

    /// Those that a norm keeps for evaluation.
    pub fn running(mean: &Tensor, variance: &Tensor, epsilon: f64) -> Self {
        ChannelStatistics { mean: numbers(mean), rstd: numbers(variance).iter().map(|&v| rstd(v, epsilon)).collect() }
    }

    pub fn extend(&mut self, other: ChannelStatistics) {
        self.mean.extend(other.mean);
        self.rstd.extend(other.rstd);
    }

    /// As tensors `[C]` beside `features`.
    pub fn tensors(&self, features: &Tensor) -> [Tensor; 2] {
        [&self.mean, &self.rstd].map(|values| tensor(values, features))
    }
}

fn rstd(variance: f64, epsilon: f64) -> f64 {
    (variance + epsilon).sqrt().recip()
}

/// A norm over the first channels of some features: γ, β, and the statistics that it normalizes by.
#[derive(Debug)]
pub(super) struct Norm<W> {
    pub gamma: Vec<f64>,
    pub rstd: Vec<f64>,
    scale: Vec<W>,
    shift: Vec<W>,
    mean: Vec<W>,
}

impl<W: Real> Norm<W> {
    pub fn new(gamma: &Tensor, beta: &Tensor, statistics: &ChannelStatistics) -> Self {
        let (gamma, beta) = (numbers(gamma), numbers(beta));
        let channels = gamma.len();
        let (mean, rstd) = (&statistics.mean[..channels], &statistics.rstd[..channels]);
        let rounded: Vec<W> = mean.iter().map(|&mean| W::from_f64(mean)).collect();
        let scale: Vec<f64> = gamma.iter().zip(rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        let shift = |c: usize| beta[c] + (rounded[c].to_f64() - mean[c]) * scale[c];
        Norm {
            shift: (0..channels).map(|c| W::from_f64(shift(c))).collect(),
            scale: scale.iter().map(|&scale| W::from_f64(scale)).collect(),
            mean: rounded,
            rstd: rstd.to_vec(),
            gamma,
        }
    }

    pub fn channels(&self) -> usize {
        self.gamma.len()
    }

    pub fn affine(&self) -> Affine<'_, W> {
        Affine { mean: &self.mean, scale: &self.scale, shift: &self.shift }
    }
}

/// The values of a small tensor.
pub(super) fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).expect("a tensor of numbers on the CPU")
}

/// A tensor `[C]` beside `features`, in the kind that is computed with.
pub(super) fn tensor(values: &[f64], features: &Tensor) -> Tensor {
    Tensor::from_slice(values).to_kind(wide_kind(features))
}

/// The kind that is computed with where features are of this one's kind.
pub(super) fn wide_kind(features: &Tensor) -> Kind {
    match features.kind() {
        Kind::BFloat16 => Kind::Float,
        kind => kind,
    }
}
