//! Statistics and the constants of norms in the form that the kernels take.

use crate::kernels::{Affine, Moments, Real};
use crate::nn::Statistics;
use crate::nn::fused::block::wide_kind;
use crate::torch::{is_plain, values};
use tch::{Kind, Tensor};

/// [`Statistics`] in the memory of the host, in f64: the kernels' sums are f64, and the backward pass gets them without
/// rounding.
#[derive(Clone, Debug)]
pub(in crate::nn::fused) struct HostStatistics {
    pub mean: Vec<f64>,
    pub rstd: Vec<f64>,
}

impl HostStatistics {
    /// Reads statistics from their tensors.
    pub fn of(statistics: &Statistics) -> Self {
        HostStatistics { mean: numbers(&statistics.mean), rstd: numbers(&statistics.rstd) }
    }

    /// Computes batch statistics from moments.
    pub fn of_moments(moments: &Moments, epsilon: f64) -> Self {
        let rstd = moments.variance().map(|variance| (variance + epsilon).sqrt().recip());
        HostStatistics { mean: moments.mean().to_vec(), rstd: rstd.collect() }
    }

    /// Returns the statistics of channels that are normalized already: mean 0, variance 1.
    pub fn neutral(channels: usize) -> Self {
        HostStatistics { mean: vec![0.0; channels], rstd: vec![1.0; channels] }
    }

    /// Appends the statistics of further channels.
    pub fn extend(&mut self, other: HostStatistics) {
        self.mean.extend(other.mean);
        self.rstd.extend(other.rstd);
    }

    /// Converts the statistics to tensors `[C]` in f64.
    pub fn tensors(&self) -> Statistics {
        Statistics { mean: Tensor::from_slice(&self.mean), rstd: Tensor::from_slice(&self.rstd) }
    }
}

/// A norm over the first channels of some features: γ, β, and the statistics that it normalizes by.
#[derive(Debug)]
pub(in crate::nn::fused) struct Norm<W> {
    pub gamma: Vec<f64>,
    pub rstd: Vec<f64>,
    scale: Vec<W>,
    shift: Vec<W>,
    mean: Vec<W>,
}

impl<W: Real> Norm<W> {
    /// Computes the constants of as many channels as γ and β have.
    pub fn new(gamma: &Tensor, beta: &Tensor, statistics: &HostStatistics) -> Self {
        let (gamma, beta) = (numbers(gamma), numbers(beta));
        let channels = gamma.len();
        let (mean, rstd) = (&statistics.mean[..channels], &statistics.rstd[..channels]);
        let rounded: Vec<W> = mean.iter().map(|&mean| W::from_f64(mean)).collect();
        let scale: Vec<f64> = gamma.iter().zip(rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        // The rounding error of the mean goes into the shift.
        let shift = |c: usize| beta[c] + (rounded[c].to_f64() - mean[c]) * scale[c];
        Norm {
            shift: (0..channels).map(|c| W::from_f64(shift(c))).collect(),
            scale: scale.iter().map(|&scale| W::from_f64(scale)).collect(),
            mean: rounded,
            rstd: rstd.to_vec(),
            gamma,
        }
    }

    /// Returns the number of channels that the norm reads.
    pub fn channels(&self) -> usize {
        self.gamma.len()
    }

    /// Returns the constants in the form that a kernel takes.
    pub fn affine(&self) -> Affine<'_, W> {
        Affine { mean: &self.mean, scale: &self.scale, shift: &self.shift }
    }
}

/// Reads the values of a small tensor in f64.
pub(in crate::nn::fused) fn numbers(tensor: &Tensor) -> Vec<f64> {
    // Straight from memory in the usual cases: there are four such tensors per norm and pass.
    if tensor.dim() == 1 && is_plain(tensor) && tensor.is_contiguous() {
        match tensor.kind() {
            Kind::Float => return values::<f32>(tensor).iter().map(|&value| value.into()).collect(),
            Kind::Double => return values::<f64>(tensor).to_vec(),
            _ => {}
        }
    }
    Vec::<f64>::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).expect("a tensor of numbers on the CPU")
}

/// Creates a tensor `[C]` on the device of `features`, in the dtype of computations.
pub(in crate::nn::fused) fn tensor(values: &[f64], features: &Tensor) -> Tensor {
    Tensor::from_slice(values).to_kind(wide_kind(features))
}
