//! The passes over memory that a fused block consists of: slices in, slices out, no tensor.

#[macro_use]
mod dispatch;
#[macro_use]
mod lanes;
mod average_pool;
mod dropout;
mod element;
mod inner_norm;
mod max_pool;
mod moments;
mod rows;
mod splitmix;
#[cfg(test)]
mod tests;

pub use average_pool::{Window, norm_relu_average_pool, norm_relu_average_pool_backward};
pub use dispatch::{Level, level};
pub use dropout::{DropMask, drop};
pub use element::{Element, Real};
pub use inner_norm::{norm_backward, norm_sums};
pub use max_pool::{MaxPooled, max_pooled, norm_relu_max_pool, norm_relu_max_pool_backward, norm_relu_max_pool_sums};
pub use moments::Moments;
pub use rows::{Correction, GradientSums, accumulate, copy, copy_with_moments, correct, moments, norm_relu};
pub use splitmix::{STEP, scramble, scramble_name};

/// Normalization of a channel: (x − mean)·scale + shift, with scale = γ·r. The mean is subtracted first: where it is
/// far from 0, x·scale and mean·scale would lose the bits in which they differ.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, W> {
    /// The mean that is subtracted, per channel.
    pub mean: &'a [W],
    /// The factor γ·r, per channel.
    pub scale: &'a [W],
    /// The summand per channel: β, and the rounding error of the mean times the factor.
    pub shift: &'a [W],
}

impl<'a, W: Real> Affine<'a, W> {
    /// Returns the constants of the first channels.
    #[inline(always)]
    fn cut(self, channels: usize) -> Affine<'a, W> {
        Affine { mean: &self.mean[..channels], scale: &self.scale[..channels], shift: &self.shift[..channels] }
    }

    /// Returns the number of channels.
    #[inline(always)]
    fn channels(&self) -> usize {
        self.scale.len()
    }

    /// Computes x − mean for `N` channels from `first` on.
    #[inline(always)]
    fn deviation<const N: usize>(&self, first: usize, x: [W; N]) -> [W; N] {
        let mean = lanes::at::<W, N>(self.mean, first);
        lanes::each(|c| x[c] - mean[c])
    }

    /// Normalizes `N` channels from `first` on, from their x − mean.
    #[inline(always)]
    fn of_deviation<const N: usize>(&self, first: usize, deviation: [W; N]) -> [W; N] {
        let (scale, shift) = (lanes::at::<W, N>(self.scale, first), lanes::at::<W, N>(self.shift, first));
        lanes::each(|c| deviation[c] * scale[c] + shift[c])
    }

    /// Normalizes `N` channels from `first` on.
    #[inline(always)]
    fn apply<const N: usize>(&self, first: usize, x: [W; N]) -> [W; N] {
        self.of_deviation::<N>(first, self.deviation::<N>(first, x))
    }
}
