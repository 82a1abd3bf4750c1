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
pub use splitmix::{STEP, scramble};

/// Normalization of a channel: (x − mean)·scale + shift, with scale = γ·r. The mean goes first:
/// where it is far from 0, x·scale and mean·scale would lose the bits in which they differ.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, W> {
    /// Subtracted from each channel.
    pub mean: &'a [W],
    /// The factor of each channel.
    pub scale: &'a [W],
    /// The summand of each channel: β, and what rounding took from the mean.
    pub shift: &'a [W],
}

impl<'a, W: Real> Affine<'a, W> {
    /// The first channels.
    #[inline(always)]
    fn cut(self, channels: usize) -> Affine<'a, W> {
        Affine { mean: &self.mean[..channels], scale: &self.scale[..channels], shift: &self.shift[..channels] }
    }

    /// The number of channels.
    #[inline(always)]
    fn channels(&self) -> usize {
        self.scale.len()
    }

    /// x − mean of `N` channels from `first` on.
    #[inline(always)]
    fn deviation<const N: usize>(&self, first: usize, x: [W; N]) -> [W; N] {
        let mean = lanes::at::<W, N>(self.mean, first);
        lanes::each(|c| x[c] - mean[c])
    }

    /// Normalizes `N` channels from `first` on, of which x − mean is known.
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
