//! The forward pass of a stage by the kernels.

use super::groups::{Scratch, part};
use super::norm::{HostStatistics, Norm};
use super::passes;
use crate::Result;
use crate::nn::fused::block::Stage;
use crate::torch::{Number, to_channels_last, writable_channels_last};
use std::ops::Range;
use tch::Tensor;

/// A stage with its constants prepared for one pass over a batch.
pub(super) struct CpuStage<'a, T: Number> {
    pub stage: &'a Stage,
    pub norm: Norm<T::Wide>,
    /// The convolution's weight in the features' dtype.
    pub weight: Tensor,
}

impl<'a, T: Number> CpuStage<'a, T> {
    /// Prepares a stage for one pass.
    pub fn new(stage: &'a Stage, statistics: &HostStatistics) -> Result<Self> {
        Ok(CpuStage {
            stage,
            norm: Norm::new(&stage.gamma, &stage.beta, statistics),
            weight: stage.weight_as(T::KIND)?,
        })
    }

    /// Computes ReLU(norm(x)) in the scratch memory.
    pub fn normalized(&self, x: &Tensor, scratch: &Scratch) -> Tensor {
        let mut normalized = scratch.like(x, self.stage.in_channels());
        passes::norm_relu::<T>(x, &self.norm, &mut normalized);
        normalized
    }

    /// Computes the stage's output for a group of images.
    pub fn output(&self, x: &Tensor, images: &Range<i64>, scratch: &Scratch) -> Result<Tensor> {
        let y = self.stage.convolve(&self.normalized(x, scratch), &self.weight)?;
        if self.stage.mask.is_none() {
            return to_channels_last(&y);
        }
        let mut y = writable_channels_last(y)?;
        self.drop(&mut y, images);
        Ok(y)
    }

    /// Computes the stage's output for a batch, group by group.
    pub fn outputs(&self, x: &Tensor, groups: &[Range<i64>], scratch: &Scratch) -> Result<Vec<Tensor>> {
        groups.iter().map(|images| self.output(&part(x, images), images, scratch)).collect()
    }

    /// Applies dropout to the stage's output for a group of images, or to its gradient; returns whether the stage has
    /// dropout.
    pub fn drop(&self, values: &mut Tensor, images: &Range<i64>) -> bool {
        if let Some(mask) = self.stage.mask {
            // The place of the group's first value in its batch.
            let place = images.start as usize * values.numel() / (images.end - images.start).max(1) as usize;
            passes::drop::<T>(values, place, mask);
        }
        self.stage.mask.is_some()
    }
}
