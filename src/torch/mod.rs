//! The bridge to libtorch: functions that tch does not have.

mod access;
mod autocast;
mod autograd;
mod buffers;
mod convolution;
mod cuda;
mod device;
mod ffi;
mod finite;
mod fused_optim;
mod memory;
mod memory_format;
mod no_grad;
mod parallel;
mod random;
mod variables;
mod versions;

pub use autograd::{Forward, Function};
pub use cuda::{CudaConfig, peak_device_memory};
pub use device::{default_device, parse_device};
pub use memory::tune_allocator;
pub use versions::Versions;

pub(crate) use access::{Access, is_tracing};
pub(crate) use autocast::{autocast, has_bf16, is_autocast};
pub(crate) use buffers::Buffers;
pub(crate) use convolution::{OfConvolution, convolution_backward};
pub(crate) use device::{check_device, device_name};
pub(crate) use ffi::Rate;
pub(crate) use finite::{all_finite, find_non_finite};
pub(crate) use fused_optim::{AdamWStep, SgdStep, adamw_step, clear_gradients, sgd_step};
pub(crate) use memory::{
    Number, bytes, bytes_mut, dense_bytes, for_parts, for_parts_of_two, is_plain, map, release_free_memory, values,
};
pub(crate) use memory_format::{empty_channels_last, is_channels_last, to_channels_last, writable_channels_last};
pub(crate) use no_grad::no_grad;
pub(crate) use parallel::{parallel_for, threads};
pub(crate) use random::{draw, draw_seed};
pub(crate) use variables::{Variable, has_prefix, named_variables, parameters};
