//! The correction of gradients for batch statistics, which are functions of the features.

use super::norm::{HostStatistics, Norm};
use crate::kernels::{self, GradientSums, Real};
use crate::nn::Statistics;
use std::ops::Range;
use tch::Tensor;

/// The sums Σ γ·dβ and Σ γ·dγ over all readers, for each channel.
#[derive(Clone, Debug)]
pub(in crate::nn::fused) struct ReaderSums {
    pub shift: Vec<f64>,
    pub scale: Vec<f64>,
}

impl ReaderSums {
    /// Starts from the gradients of the mean and of 1/√(var + ε) that readers outside of the block returned, or from 0
    /// where there are none.
    pub fn of(mean: Option<&[f64]>, rstd: Option<&[f64]>, statistics: &HostStatistics) -> Self {
        let own = &statistics.rstd;
        let zeros = || vec![0.0; own.len()];
        ReaderSums {
            shift: mean.map_or_else(zeros, |mean| mean.iter().zip(own).map(|(mean, own)| -mean / own).collect()),
            scale: rstd.map_or_else(zeros, |rstd| rstd.iter().zip(own).map(|(rstd, own)| rstd * own).collect()),
        }
    }

    /// Adds a reader of the first channels.
    pub fn add<W>(&mut self, sums: &GradientSums, norm: &Norm<W>) {
        for (channel, gamma) in norm.gamma.iter().enumerate() {
            self.shift[channel] += gamma * sums.shift[channel];
            self.scale[channel] += gamma * sums.scale[channel] * norm.rstd[channel];
        }
    }

    /// Returns the gradients of the statistics of the first channels: the inverse of [`of`](Self::of).
    pub fn statistics(&self, of: &HostStatistics, channels: usize) -> Statistics {
        let rstd = &of.rstd[..channels];
        let mean: Vec<f64> = self.shift.iter().zip(rstd).map(|(sum, rstd)| -sum * rstd).collect();
        let rstd: Vec<f64> = self.scale.iter().zip(rstd).map(|(sum, rstd)| sum / rstd).collect();
        Statistics { mean: Tensor::from_slice(&mean), rstd: Tensor::from_slice(&rstd) }
    }
}

/// The constants by which the gradient of some channels is corrected: dx = g − offset − slope·(x − mean).
pub(in crate::nn::fused) struct Correction<W> {
    /// The first corrected channel.
    pub first: usize,
    offset: Vec<W>,
    slope: Vec<W>,
    mean: Vec<W>,
}

impl<W: Real> Correction<W> {
    /// Computes the constants for these channels of features with `count` values per channel.
    pub fn new(channels: Range<usize>, count: usize, statistics: &HostStatistics, sums: &ReaderSums) -> Self {
        let each = |of: &dyn Fn(usize) -> f64| channels.clone().map(|c| W::from_f64(of(c))).collect();
        Correction {
            first: channels.start,
            offset: each(&|c| statistics.rstd[c] * sums.shift[c] / count as f64),
            slope: each(&|c| statistics.rstd[c].powi(2) * sums.scale[c] / count as f64),
            mean: each(&|c| statistics.mean[c]),
        }
    }

    /// Returns the number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Returns the constants in the form that a kernel takes.
    pub fn constants(&self) -> kernels::Correction<'_, W> {
        kernels::Correction { offset: &self.offset, slope: &self.slope, mean: &self.mean }
    }
}
