//! Run-time choices of a forward pass: mode, execution, precision, memory.

use crate::error::ConfigError;
use crate::torch::{autocast, device_name, draw_seed, has_bf16};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Device;

/// The mode of a forward pass: training or evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Training: norms use batch statistics and update their running statistics; dropout is active.
    Train,
    /// Training with frozen norms: they use their running statistics and do not update them; dropout is active. Common
    /// in fine-tuning, especially with small batches.
    TrainFrozenNorms,
    /// Evaluation: norms use their running statistics and do not update them; dropout is inactive.
    Eval,
}

impl Mode {
    /// Whether norms use batch statistics and update their running statistics.
    pub fn uses_batch_statistics(self) -> bool {
        self == Mode::Train
    }

    /// Whether dropout is active.
    pub fn drops(self) -> bool {
        self != Mode::Eval
    }
}

impl From<bool> for Mode {
    /// Converts tch's `train` argument.
    fn from(train: bool) -> Self {
        if train { Mode::Train } else { Mode::Eval }
    }
}

/// Choice of the implementation of the layers. It is made at run time and is not part of the architecture: all
/// implementations compute the same function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// The fastest implementation that fits: `Fused` on the CPU where this crate was compiled with optimization, else
    /// `Reference`.
    #[default]
    Auto,
    /// The fused engine: few passes over memory, batch statistics computed once per channel, and memory that grows
    /// linearly with the number of layers instead of quadratically. It supports bf16, f32 and f64 on the CPU, and dense
    /// blocks on CUDA; everything else runs as `Reference`. On CUDA it uses libtorch's parts of batch normalization; it
    /// has not been run on a GPU yet.
    Fused,
    /// libtorch's own operations, one after the other: the reference for all other implementations.
    Reference,
}

/// Choice of the activations of a bottleneck layer that the fused engine saves for the backward pass. Like
/// [`Execution`] it is made at run time; gradients are the same, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Memory {
    /// Saves the output of the first convolution. A training step of DenseNet-121 on 16 images of 224×224 in f32 took
    /// 895 MB and ran at 11.0 images/s on two cores.
    #[default]
    Keep,
    /// Saves nothing: the backward pass runs the first convolution once more (activation checkpointing). The same step
    /// took 562 MB and ran at 9.5 images/s.
    Recompute,
}

/// Choice of the dtype in which features are stored and convolved. Like [`Execution`] it is chosen at run time:
/// variables, statistics, gradients of variables and the loss are f32 in any case, and so are saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// f32; and f64 for a model in f64.
    #[default]
    Float32,
    /// bf16, which has the range of f32 and 8 of its 24 bits: half the memory, and several times faster where the CPU
    /// has instructions for it (AVX512-BF16, AMX). Without them it is an error.
    BFloat16,
    /// bf16 also where the CPU has no instructions for it: the same results, slower than f32 there. For tests.
    EmulatedBFloat16,
}

impl Precision {
    /// Checks that this machine supports the precision on this device.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PrecisionUnavailable`] where it does not.
    pub fn check(self, device: Device) -> Result<()> {
        match self {
            Precision::BFloat16 if !has_bf16(device) => {
                Err(Error::Config(ConfigError::PrecisionUnavailable { device: device_name(device) }))
            }
            _ => Ok(()),
        }
    }
}

config! {
    /// The run-time choices that a forward pass follows, beside its input.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ForwardContext {
        /// The mode: training or evaluation.
        pub mode: Mode,
        /// The implementation that runs. Default [`Execution::Auto`].
        pub execution: Execution => with_execution,
        /// The dtype of features. Default [`Precision::Float32`].
        pub precision: Precision => with_precision,
        /// The seed of this pass's random numbers, such as those of dropout: the same seed gives the same numbers,
        /// whatever else the process draws. The trainer sets it from the run's seed, the epoch and the step. Default 0.
        pub seed: u64 => with_seed,
        /// The activations that are saved for the backward pass. Default: all that save time.
        pub(crate) memory: Memory => with_memory,
    }
}

impl ForwardContext {
    /// Creates the context of a pass in this mode, with [`Execution::Auto`], [`Precision::Float32`] and the seed 0.
    pub fn new(mode: Mode) -> Self {
        ForwardContext {
            mode,
            execution: Execution::default(),
            precision: Precision::default(),
            seed: 0,
            memory: Memory::default(),
        }
    }

    /// Creates the context of tch's `forward_t`, which has no seed: in training it is drawn from libtorch's default
    /// generator, from which tch's own dropout draws.
    pub(crate) fn of_module(train: bool) -> Self {
        let ctx = ForwardContext::new(Mode::from(train));
        if train { ctx.with_seed(draw_seed()) } else { ctx }
    }

    /// Saves less for the backward pass, which runs the first convolution of each bottleneck layer once more
    /// (activation checkpointing): gradients are the same, bit for bit. A training step of DenseNet-121 on 16 images of
    /// 224×224 in f32 took 562 MB instead of 895 MB, and ran at 9.5 instead of 11.0 images/s on two cores.
    #[must_use]
    pub fn with_recompute(self) -> Self {
        self.with_memory(Memory::Recompute)
    }

    /// Runs a part of a forward pass in [`precision`](Self::precision) on a device. A model of your own calls this to
    /// support the precision of a run.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PrecisionUnavailable`] where the machine does not support it, [`Error::Libtorch`].
    pub fn in_precision<T>(&self, device: Device, body: impl FnOnce() -> T) -> Result<T> {
        self.precision.check(device)?;
        match self.precision {
            Precision::Float32 => Ok(body()),
            Precision::BFloat16 | Precision::EmulatedBFloat16 => autocast(device, body),
        }
    }
}
