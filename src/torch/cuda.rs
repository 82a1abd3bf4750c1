//! Settings and statistics of CUDA.

use super::{check_device, ffi};
use crate::Result;
use tch::Device;

config! {
    /// Settings of libtorch on CUDA, for the whole process. They change nothing before [`apply`](Self::apply), and the
    /// results of a CPU in no case.
    ///
    /// They have not been tried on a GPU yet. Without a call libtorch keeps its own defaults, which are PyTorch's: convolutions of f32 run in TF32, matrix
    /// products do not, and algorithms are neither timed nor deterministic.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::torch::CudaConfig;
    ///
    /// CudaConfig::new().with_tf32(true).with_benchmark(true).apply()?;
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct CudaConfig {
        /// Whether convolutions and matrix products of f32 run in TF32, with 11 of its 24 bits: several times faster on
        /// GPUs since Ampere. Default: `false`.
        pub tf32: bool => with_tf32,
        /// Whether cuDNN times several algorithms for each new shape of a convolution, and keeps the fastest; worth it
        /// where shapes repeat. Default: `false`.
        pub benchmark: bool => with_benchmark,
        /// Whether only algorithms run that give the same bits each time, so that a resumed run equals an uninterrupted
        /// one; an operation without such an algorithm is an error. cuBLAS needs the environment variable
        /// `CUBLAS_WORKSPACE_CONFIG=:4096:8` for it. Default: `false`.
        pub deterministic: bool => with_deterministic,
    }
}

impl CudaConfig {
    /// Creates settings for exact f32, without timing of algorithms and without determinism.
    pub fn new() -> Self {
        CudaConfig::default()
    }

    /// Makes libtorch follow these settings from now on, in all threads.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch).
    pub fn apply(&self) -> Result<()> {
        let CudaConfig { tf32, benchmark, deterministic } = *self;
        // SAFETY: the entry has no precondition.
        ffi::call("settings of CUDA", |error| unsafe {
            ffi::densenet_configure_cuda(tf32, benchmark, deterministic, error)
        })?;
        Ok(())
    }
}

/// Returns the most bytes that tensors on a CUDA device have taken at the same time since the start of the process, or
/// since the last call with `reset`; `None` for the CPU.
///
/// # Errors
///
/// [`ConfigError::DeviceUnavailable`](crate::error::ConfigError::DeviceUnavailable),
/// [`Error::Libtorch`](crate::Error::Libtorch).
pub fn peak_device_memory(device: Device, reset: bool) -> Result<Option<u64>> {
    check_device(device)?;
    let Device::Cuda(index) = device else { return Ok(None) };
    // SAFETY: the entry has no precondition.
    let peak =
        ffi::call("memory of a device", |error| unsafe { ffi::densenet_peak_cuda_memory(index as i32, reset, error) })?;
    Ok(Some(peak as u64))
}
