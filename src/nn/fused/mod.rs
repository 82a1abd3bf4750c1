//! The fused engine: dense blocks and poolings in few passes over memory, with the same results as the reference.
//!
//! # Shared batch statistics
//!
//! In a dense block every later layer normalizes the same features again. In training a norm uses the mean μ and the
//! variance of a channel over the batch, and these do not depend on which layer reads the channel. So the engine stores
//! all features of a block in one channels-last buffer F `[N, C + layers·k, H, W]`, and computes a channel's μ and r =
//! 1/√(var + ε) once, when the channel is written. A layer computes
//!
//! ```text
//! a = ReLU(γ·r·(F[first C] − μ) + β)            into scratch memory
//! F[slot] = convolution of a                    and, in the same pass, μ and r of the slot
//! ```
//!
//! Nothing is concatenated. Only F and two numbers per channel are saved for the backward pass, which recomputes the
//! normalized values; so memory grows linearly with the number of layers. A bottleneck layer consists of two such
//! stages, 1×1 and 3×3: the first reads F, and the second reads the output of the first, whose statistics have no other
//! reader. That output is saved too, or recomputed ([`Memory`](super::Memory)).
//!
//! Each norm has its own running statistics, which are updated with the shared μ and var·M/(M − 1), where M = N·H·W is
//! the number of values per channel. In evaluation, and with frozen norms, each norm uses its own running statistics,
//! and F has no shared ones.
//!
//! The deviation F − μ is computed first. The equivalent (γ·r)·F + (β − γ·r·μ) would be one multiply-add per value, but
//! far from 0 it loses bits that libtorch keeps.
//!
//! # The backward pass
//!
//! Let G be the gradient of F with all statistics held constant, x̂ = (F − μ)·r, and S1 = Σ γ·dβ and S2 = Σ γ·dγ the
//! sums over all readers of a channel. From the last layer to the first:
//!
//! ```text
//! dy = G[slot] − r/M·(S1 + x̂·S2)                one correction per channel instead of one per reader
//! dA, dW, db = the convolution's backward pass of dy
//! g  = dA where ReLU let the value through
//! dβ = Σ g;   dγ = Σ g·x̂
//! G[first C] += γ·r·g;   S1 += γ·dβ;   S2 += γ·dγ
//! ```
//!
//! At the end the gradient of the block's input is corrected in the same way. This is exact: it is what automatic
//! differentiation of norm, ReLU, convolution and concatenation computes, with the terms in another order. With running
//! statistics S1 and S2 stay 0. The norm between the stages of a bottleneck layer has one reader, so that its backward
//! pass takes two passes over its input: the first for dβ and dγ, the second for the corrected gradient.
//!
//! Dropout's mask is a function of the pass's seed, the convolution's name and a value's place. So the backward pass
//! computes it again, and every execution drops the same values.
//!
//! # Statistics between blocks
//!
//! The statistics of a block's features are differentiable outputs of the block, so that the transition and the head do
//! not compute them again ([`Features`](super::Features)). A reader with another ε computes its own. Such a reader returns dμ = −γ·r·dβ and dr = γ·dγ/r beside
//! γ·r·g, from which the block's sums begin: S1 = −dμ/r and S2 = r·dr. If the statistics of the block's input are
//! inputs too, the block returns their gradients in the same form and leaves the correction to the part that computed
//! them.
//!
//! # Pooling
//!
//! The transition's 1×1 convolution and its 2×2 average pooling commute, since both are linear and the convolution
//! works on each pixel alone. So norm, ReLU and pooling are one pass, and the convolution runs on a quarter of the
//! pixels. The order stays the original one where dropout is between them. At odd sizes the last row or column is in no
//! window, but it counts in M, and its gradient is corrected too. The head's norm, ReLU and global average pooling are
//! the same pass with one window per image.
//!
//! The stem's max pooling stays after norm and ReLU, because γ may be negative: the maximum of a channel is then the
//! minimum of its input. The forward pass saves the place of each maximum in its window. The norm is the only reader of
//! its input, so that the backward pass again takes two passes over the windows, the first for dβ and dγ and the second
//! for the corrected gradient, and stores no gradient between them.
//!
//! # Structure
//!
//! `block.rs` describes a block, the inputs and outputs of its passes, and the interface [`Backend`].
//! `block_function.rs` makes one autograd function of any backend, and updates the running statistics. There are two
//! backends: `cpu/` uses this crate's [kernels](crate::kernels), and `tensor/` uses libtorch's operations, for GPUs.
//! `tests.rs` compares both with the reference. `pool_functions.rs` has the poolings of stem, transition and head in
//! one pass with the norm before them, for the CPU.

mod block;
mod block_function;
mod cpu;
mod pool_functions;
mod tensor;
#[cfg(test)]
mod tests;

pub(crate) use block::Backend;
pub(crate) use block_function::{LayerModules, StageModules, dense_block};
pub(crate) use pool_functions::{norm_relu_average_pool, norm_relu_max_pool};

use super::{Execution, ForwardContext, NormRelu, Statistics};
use crate::torch::{Access, is_plain};
use std::sync::LazyLock;
use tch::Tensor;

/// The implementation that runs a part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// This crate's kernels, on the CPU.
    CpuKernels,
    /// The fused engine by libtorch's operations, on a GPU; dense blocks only.
    TensorOperations,
    /// The modules one after the other, each by libtorch's own operations.
    Reference,
}

impl Engine {
    /// Chooses the engine for features like `x`. This is the only place that chooses how a part is executed.
    pub fn of(x: &Tensor, ctx: &ForwardContext) -> Self {
        match ctx.execution {
            Execution::Reference => Engine::Reference,
            // Kernels that the compiler did not optimize are slower than libtorch's.
            Execution::Auto if cfg!(densenet_unoptimized) => Engine::Reference,
            // There is nothing to fuse, and libtorch knows what an empty batch gives.
            _ if x.numel() == 0 || x.dim() != 4 => Engine::Reference,
            // What is traced, for example, has to consist of operations that can be recorded.
            _ if Access::to(x) != Access::Memory => Engine::Reference,
            Execution::Fused if runs_tensor_operations() => Engine::TensorOperations,
            _ if is_plain(x) => Engine::CpuKernels,
            // No GPU has run it yet, so `Auto` does not choose it.
            Execution::Fused if x.device().is_cuda() => Engine::TensorOperations,
            _ => Engine::Reference,
        }
    }

    /// Returns the backend that computes dense blocks; `None` for the reference.
    pub fn backend(self) -> Option<&'static dyn Backend> {
        match self {
            Engine::CpuKernels => Some(&cpu::CpuKernels),
            Engine::TensorOperations => Some(&tensor::TensorOperations),
            Engine::Reference => None,
        }
    }
}

/// Whether the environment variable `DENSENET_BACKEND` is `tensor`: the engine for GPUs then runs on the CPU too, where
/// it can be tested.
fn runs_tensor_operations() -> bool {
    static IS_FORCED: LazyLock<bool> =
        LazyLock::new(|| std::env::var("DENSENET_BACKEND").is_ok_and(|name| name == "tensor"));
    *IS_FORCED
}

/// Runs a block of code with a type for the dtype of a tensor.
macro_rules! by_kind {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.kind() {
            tch::Kind::BFloat16 => {
                type $T = half::bf16;
                $body
            }
            tch::Kind::Float => {
                type $T = f32;
                $body
            }
            tch::Kind::Double => {
                type $T = f64;
                $body
            }
            kind => unreachable!("the kernels do not support {kind:?}"),
        }
    };
}
use by_kind;

/// Updates the running statistics of a norm over the first channels of `x` with those of the batch.
fn update_running(norm: &NormRelu, statistics: &Statistics, x: &Tensor) {
    let statistics = Statistics { mean: statistics.mean.detach(), rstd: statistics.rstd.detach() };
    let (n, _, h, w) = x.size4().expect("features have four dimensions");
    norm.update_running_statistics((n * h * w) as f64, &statistics.first(norm.weight.numel()));
}
