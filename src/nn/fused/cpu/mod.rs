//! The backend of this crate's own kernels, for the CPU.
//!
//! A layer processes the images of a batch in groups, so that short-lived intermediate results take little memory.

mod backward;
pub(super) mod correction;
mod forward;
mod groups;
pub(super) mod norm;
pub(super) mod passes;
mod stage;
mod stage_backward;

use super::block::{Activations, Backend, Block, BlockStatistics, GradOutputs, Gradients, NeedsGrad};
use super::by_kind;
use crate::Result;
use crate::nn::Memory;
use tch::Tensor;

/// Backend that computes dense blocks by the kernels, on libtorch's threads.
pub(crate) struct CpuKernels;

impl Backend for CpuKernels {
    fn forward(
        &self,
        block: &Block,
        x: &Tensor,
        statistics: Option<BlockStatistics>,
        memory: Memory,
    ) -> Result<Activations> {
        by_kind!(x, T => forward::forward::<T>(block, x, statistics, memory))
    }

    fn backward(
        &self,
        block: &Block,
        saved: &Activations,
        grad_outputs: GradOutputs,
        needs_grad: &NeedsGrad,
    ) -> Result<Gradients> {
        by_kind!(&saved.features, T => backward::backward::<T>(block, saved, grad_outputs, needs_grad))
    }
}
