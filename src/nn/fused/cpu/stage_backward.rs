//! The backward pass of a stage by the kernels.

use super::groups::{Scratch, part};
use super::passes;
use super::stage::CpuStage;
use crate::Result;
use crate::kernels::GradientSums;
use crate::nn::fused::block::{StageGradients, StageNeedsGrad, wide_kind};
use crate::nn::fused::cpu::norm::tensor;
use crate::torch::{Number, OfConvolution, convolution_backward, to_channels_last};
use std::ops::Range;
use tch::Tensor;

/// The gradient of a stage's output for a group of images.
pub(super) struct Upstream {
    pub gradient: Tensor,
    /// The gradient's sum over each channel, where it is known.
    pub sums: Option<Vec<f64>>,
}

/// The state of a stage's backward pass, with the gradients of its parameters so far.
pub(super) struct StageBackward<'a, T: Number> {
    pub stage: CpuStage<'a, T>,
    needs: StageNeedsGrad,
    /// Whether the gradient of the convolution's input is needed.
    through: bool,
    /// The sums of the norm's backward pass.
    pub sums: GradientSums,
    weight: Option<Tensor>,
    bias: Vec<f64>,
}

impl<'a, T: Number> StageBackward<'a, T> {
    /// Starts a backward pass; `before` says whether the gradient of the stage's input is needed.
    pub fn new(stage: CpuStage<'a, T>, needs: StageNeedsGrad, before: bool) -> Self {
        StageBackward {
            needs,
            through: needs.norm || before,
            sums: GradientSums::zero(stage.stage.in_channels()),
            weight: None,
            bias: vec![0.0; stage.stage.out_channels()],
            stage,
        }
    }

    /// Computes the backward pass of dropout and convolution from the gradient of the stage's output: returns the
    /// gradient of the rectified values, where it is needed. `x` is the stage's input for these images.
    pub fn take(
        &mut self,
        Upstream { mut gradient, mut sums }: Upstream,
        images: &Range<i64>,
        x: &Tensor,
        scratch: &Scratch,
    ) -> Result<Option<Tensor>> {
        if self.stage.drop(&mut gradient, images) {
            sums = None;
        }
        if self.needs.bias {
            let sums = sums.unwrap_or_else(|| passes::moments::<T>(&gradient).sums());
            self.bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        }
        if !self.through && !self.needs.weight {
            return Ok(None);
        }
        let normalized = self.stage.normalized(x, scratch);
        let wanted = OfConvolution { input: self.through, weight: self.needs.weight };
        let (weight, padding) = (&self.stage.weight, self.stage.stage.padding());
        let conv = convolution_backward(&gradient, &normalized, weight, padding, wanted)?;
        self.weight = match (self.weight.take(), conv.weight) {
            (Some(mut sum), Some(part)) => Some(sum.g_add_(&part)),
            (sum, part) => sum.or(part.map(|part| part.to_kind(wide_kind(x)))),
        };
        conv.input.map(|upstream| to_channels_last(&upstream)).transpose()
    }

    /// Does the same as [`take`](Self::take), then the backward pass of ReLU and norm, and adds to the `gradient` of
    /// all features.
    pub fn add_into(
        &mut self,
        output: Upstream,
        images: &Range<i64>,
        features: &Tensor,
        gradient: &Tensor,
        scratch: &Scratch,
    ) -> Result<()> {
        let features = part(features, images);
        if let Some(upstream) = self.take(output, images, &features, scratch)? {
            let mut gradient = part(gradient, images);
            self.sums.add(&passes::accumulate::<T>(&upstream, &features, &self.stage.norm, &mut gradient));
        }
        Ok(())
    }

    /// Returns the gradients of the stage's parameters, in the dtype of computations.
    pub fn finish(self, features: &Tensor) -> StageGradients {
        let rstd = &self.stage.norm.rstd;
        let gamma: Vec<f64> = self.sums.scale.iter().zip(rstd).map(|(sum, rstd)| sum * rstd).collect();
        StageGradients {
            gamma: Some(tensor(&gamma, features)),
            beta: Some(tensor(&self.sums.shift, features)),
            weight: self.weight,
            bias: self.stage.stage.bias.is_some().then(|| tensor(&self.bias, features)),
        }
    }
}
