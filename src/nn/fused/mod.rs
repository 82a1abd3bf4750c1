//! The fused engine: blocks and poolings in few passes over memory, with statistics that travel.

mod block;
mod block_backward;
mod block_forward;
mod block_function;
mod device_block;
mod device_norm;
mod norm;
mod passes;
mod pool_functions;
#[cfg(test)]
mod tests;

pub(crate) use block_function::{FusedLayer, FusedStage, dense_block};
pub(crate) use device_block::dense_block as dense_block_on_device;
pub(crate) use pool_functions::{norm_relu_average_pool, norm_relu_max_pool};

use super::{NormRelu, Statistics};
use crate::torch::is_plain;
use tch::Tensor;

/// Whether the engine knows tensors like this one: on the CPU, bf16, f32 or f64.
pub(crate) fn takes(tensor: &Tensor) -> bool {
    tensor.dim() == 4 && is_plain(tensor)
}

/// Whether blocks of such tensors run in libtorch's own operations for GPUs.
pub(crate) fn is_on_gpu(tensor: &Tensor) -> bool {
    tensor.dim() == 4 && tensor.device().is_cuda()
}

/// Runs a block of code with a type for the kind of a tensor.
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
            kind => unreachable!("{kind:?} is not a kind that the engine takes"),
        }
    };
}
use by_kind;

/// Moves the running statistics of a norm over the first channels of `x` towards the batch's.
fn update_running(norm: &NormRelu, statistics: &Statistics, x: &Tensor) {
    let channels = norm.weight.numel() as i64;
    let first = |tensor: &Tensor| tensor.detach().narrow(0, 0, channels);
    let statistics = Statistics { mean: first(&statistics.mean), rstd: first(&statistics.rstd) };
    let (n, _, h, w) = x.size4().expect("features have four dimensions");
    norm.update_running_statistics((n * h * w) as f64, &statistics);
}
