//! The fused engine: dense blocks and poolings in few passes over memory, with the same results as
//! the reference.
//!
//! # The idea
//!
//! In a dense block every later layer normalizes the same features again. In training the norms go
//! by the mean μ and the variance of a channel over the batch, and these do not depend on which
//! layer reads the channel. So the engine holds all features of a block in one channels-last buffer
//! F and computes a channel's μ and r = 1/√(var + ε) once, when the channel is written. A layer
//! reads a = ReLU(γ·r·(F − μ) + β) of the first channels into a scratch memory, convolves it, and
//! writes the result into its slot of F. Nothing is concatenated. Between the passes only F and two
//! numbers per channel are saved, and the normalized values are computed again; a bottleneck layer
//! also saves the output of its first convolution, or computes that again too
//! ([`Memory`](super::Memory)).
//!
//! # The backward pass
//!
//! Let G be the gradient of F with all statistics held, M the number of values per channel, x̂ = (F
//! − μ)·r, and S1 = Σ γ·dβ and S2 = Σ γ·dγ the sums over all readers of a channel. From the last
//! layer to the first:
//!
//! ```text
//! dy = G[slot] − r/M·(S1 + x̂·S2)                one correction per channel instead of one per reader
//! dA, dW, db = the convolution's backward pass of dy
//! g  = dA where ReLU let the value through
//! dβ = Σ g;   dγ = Σ g·x̂
//! G[first C] += γ·r·g;   S1 += γ·dβ;   S2 += γ·dγ
//! ```
//!
//! In the end the gradient of the block's input is corrected in the same way. This is exact: it is
//! what automatic differentiation of norm, ReLU, convolution and concatenation gives, with its
//! terms in another order. With running statistics S1 and S2 stay 0. A bottleneck layer is two such
//! stages; the statistics of what lies between them have one reader.
//!
//! The statistics of a block's features are differentiable outputs of the block, so that the
//! transition and the head need not compute them again. Such a reader returns dμ = −γ·r·dβ and dr =
//! γ·dγ/r, from which the block's sums begin: S1 = −dμ/r and S2 = r·dr. If the statistics of the
//! block's input came with it, their gradients go back in the same form.
//!
//! In the affine map the deviation comes first, γ·r·(F − μ) + β and not (γ·r)·F + (β − γ·r·μ): far
//! from 0 the latter loses bits that libtorch keeps.
//!
//! # Structure
//!
//! `block.rs` describes a block and what goes in and out of its passes, and has the interface
//! [`Backend`]. `block_function.rs` makes one autograd function of any backend, and moves the
//! running statistics. There are two backends: `cpu/`, of this crate's [kernels](crate::kernels),
//! and `tensor/`, of libtorch's operations, for GPUs. `tests.rs` holds both to the reference.
//! `pool_functions.rs` has the poolings of stem, transition and head in one pass with the norm
//! before them, for the CPU.

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
use crate::torch::is_plain;
use tch::Tensor;

/// The implementation that runs a part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// This crate's kernels, on the CPU.
    CpuKernels,
    /// The fused engine in libtorch's operations, on a GPU; dense blocks only.
    TensorOperations,
    /// The modules one after the other, each in libtorch's own operations.
    Reference,
}

impl Engine {
    /// Chooses the engine for features like `x`. This is the only place where it is decided how a
    /// part is executed.
    pub fn of(x: &Tensor, ctx: &ForwardContext) -> Self {
        match ctx.execution {
            Execution::Reference => Engine::Reference,
            // Kernels that the compiler did not optimize are slower than libtorch's.
            Execution::Auto if cfg!(densenet_unoptimized) => Engine::Reference,
            _ if x.dim() == 4 && is_plain(x) => Engine::CpuKernels,
            // No GPU has run it yet, so `Auto` does not choose it.
            Execution::Fused if x.dim() == 4 && x.device().is_cuda() => Engine::TensorOperations,
            _ => Engine::Reference,
        }
    }

    /// What computes dense blocks; `None` for the reference.
    pub fn backend(self) -> Option<&'static dyn Backend> {
        match self {
            Engine::CpuKernels => Some(&cpu::CpuKernels),
            Engine::TensorOperations => Some(&tensor::TensorOperations),
            Engine::Reference => None,
        }
    }
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

/// Moves the running statistics of a norm over the first channels of `x` towards those of the
/// batch.
fn update_running(norm: &NormRelu, statistics: &Statistics, x: &Tensor) {
    let statistics = Statistics { mean: statistics.mean.detach(), rstd: statistics.rstd.detach() };
    let (n, _, h, w) = x.size4().expect("features have four dimensions");
    norm.update_running_statistics((n * h * w) as f64, &statistics.first(norm.weight.numel()));
}
