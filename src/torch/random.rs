//! Random numbers from libtorch's generators.

use super::ffi;
use crate::Result;
use tch::nn::Init;
use tch::{Device, Kind, Tensor};

/// Draws a seed from libtorch's default generator, which is the whole process's.
pub(crate) fn draw_seed() -> u64 {
    Tensor::randint_low(i64::MIN, i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]) as u64
}

/// Draws an f32 tensor on the CPU from a normal or uniform distribution, from a separate generator with this seed: the
/// numbers are the same each time, and libtorch's default generator is not changed.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch).
///
/// # Panics
///
/// For an [`Init`] other than `Randn` and `Uniform`.
pub(crate) fn draw(size: &[i64], distribution: Init, seed: u64) -> Result<Tensor> {
    let (is_normal, first, second) = match distribution {
        Init::Randn { mean, stdev } => (true, mean, stdev),
        Init::Uniform { lo, up } => (false, lo, up),
        other => unreachable!("no random numbers are drawn for {other:?}"),
    };
    let mut tensor = Tensor::empty(size, (Kind::Float, Device::Cpu));
    ffi::call("drawing of random numbers", |error| {
        // SAFETY: the pointer is a live tensor's for the length of the call, and nothing else refers to the tensor.
        unsafe { ffi::densenet_fill_random(tensor.as_mut_ptr(), is_normal, first, second, seed, error) }
    })?;
    Ok(tensor)
}
