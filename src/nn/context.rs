//! How a forward pass is to be run.

use crate::torch::{autocast, device_name, has_bf16};
use crate::{Error, Result};
use tch::Device;

/// Whether a model learns or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Norms use the batch's statistics and update their running ones; dropout drops.
    Train,
    /// A model learns while its norms stay as they are: they use their running statistics and do not update them; dropout drops.
    /// Usual where a trained network is tuned, above all with small batches.
    TrainFrozenNorms,
    /// Norms use their running statistics; nothing is dropped and nothing changes.
    Eval,
}

impl Mode {
    /// Whether norms use the batch's statistics, and update their running ones.
    pub fn uses_batch_statistics(self) -> bool {
        self == Mode::Train
    }

    /// Whether dropout drops.
    pub fn drops(self) -> bool {
        self != Mode::Eval
    }
}

impl From<bool> for Mode {
    /// From tch's `train` argument.
    fn from(train: bool) -> Self {
        if train { Mode::Train } else { Mode::Eval }
    }
}

/// Which implementation of the blocks runs. A choice of the moment, not of the architecture: all give the same function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// The fastest one that fits: `Fused` on the CPU where this crate was compiled with optimisation, else `Reference`.
    #[default]
    Auto,
    /// The fused engine: few passes over memory, statistics computed once a channel, and memory that grows with the number of
    /// layers instead of its square. It knows the CPU, bf16, f32 and f64, and dense blocks on CUDA; what it does not know runs as `Reference`. On
    /// CUDA it is composed of libtorch's parts of batch normalization, and has not been run on a GPU yet.
    Fused,
    /// A composition of libtorch's own operations, one after the other; the reference for all others.
    Reference,
}

/// What the fused engine keeps of a bottleneck layer from the forward pass for the backward pass. A choice of the moment, like
/// [`Execution`]: gradients are the same, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Memory {
    /// The output of its first convolution. A training step of DenseNet-121 on 16 images of 224×224 in f32 took 895 MB and ran at 11.0
    /// images a second on two cores.
    #[default]
    Keep,
    /// Nothing: the backward pass runs the first convolution once more. The same step took 562 MB, and ran at 9.5.
    Recompute,
}

/// In which kind of number features are kept and convolved. A choice of the moment, like [`Execution`]: variables, statistics,
/// gradients of variables and the loss are f32 in any case, and so is what is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// f32; and f64 for a model in f64.
    #[default]
    Float32,
    /// bf16, which has the range of f32 and 8 of its 24 bits: half the memory, and several times faster where the CPU has
    /// instructions for it (AVX512-BF16, AMX). Where it has none this is an error.
    BFloat16,
    /// The same numbers as `BFloat16`, also where the CPU has no instructions for it: slower than f32 there, for tests.
    EmulatedBFloat16,
}

impl Precision {
    /// Whether this machine can do it on this device.
    ///
    /// # Errors
    ///
    /// [`Error::Precision`].
    pub fn check(self, device: Device) -> Result<()> {
        match self {
            Precision::BFloat16 if !has_bf16(device) => Err(Error::Precision { device: device_name(device) }),
            _ => Ok(()),
        }
    }
}

/// What a forward pass needs to know beside its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardContext {
    /// Learn or answer.
    pub mode: Mode,
    /// Which implementation runs.
    pub execution: Execution,
    /// In which kind of number.
    pub precision: Precision,
    /// What is kept for the backward pass.
    pub memory: Memory,
}

impl ForwardContext {
    /// A pass in this mode with [`Execution::Auto`], [`Precision::Float32`] and [`Memory::Keep`].
    pub fn new(mode: Mode) -> Self {
        ForwardContext {
            mode,
            execution: Execution::default(),
            precision: Precision::default(),
            memory: Memory::default(),
        }
    }

    /// Whether the fused engine is to run where it can.
    pub(crate) fn fused(&self) -> bool {
        match self.execution {
            Execution::Auto => !cfg!(densenet_unoptimized),
            Execution::Fused => true,
            Execution::Reference => false,
        }
    }

    /// Whether this pass drops values.
    pub(crate) fn drops(&self, dropout: &super::Dropout) -> bool {
        self.mode.drops() && dropout.rate > 0.0
    }

    /// Runs a part of a forward pass in [`precision`](Self::precision), on a device. A model of your own calls this to follow
    /// the precision of a run.
    ///
    /// # Errors
    ///
    /// [`Error::Precision`], [`Error::Libtorch`].
    pub fn in_precision<T>(&self, device: Device, body: impl FnOnce() -> T) -> Result<T> {
        self.precision.check(device)?;
        match self.precision {
            Precision::Float32 => Ok(body()),
            Precision::BFloat16 | Precision::EmulatedBFloat16 => autocast(device, body),
        }
    }

    setters! {
        with_execution => execution: Execution,
        with_precision => precision: Precision,
        with_memory => memory: Memory,
    }
}
