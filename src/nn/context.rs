//! How a forward pass is to be run.

/// Whether a model learns or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Norms use the batch's statistics and update their running ones; dropout drops.
    Train,
    /// Norms use their running statistics; nothing is dropped and nothing changes.
    Eval,
}

impl Mode {
    /// tch's `train` argument.
    pub fn is_train(self) -> bool {
        self == Mode::Train
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
    /// The fastest one that fits: `Fused` where it knows the work and this crate was compiled with optimisation, else `Composed`.
    #[default]
    Auto,
    /// The fused engine: few passes over memory, statistics computed once a channel, and memory that grows with the number of
    /// layers instead of its square. It knows plain layers, the CPU, f32 and f64; what it does not know runs as `Composed`.
    Fused,
    /// A composition of libtorch's own operations, one after the other; the reference for all others.
    Composed,
}

/// What a forward pass needs to know beside its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardContext {
    /// Learn or answer.
    pub mode: Mode,
    /// Which implementation runs.
    pub execution: Execution,
}

impl ForwardContext {
    /// A pass in this mode with [`Execution::Auto`].
    pub fn new(mode: Mode) -> Self {
        ForwardContext { mode, execution: Execution::default() }
    }

    /// Whether the fused engine is to run where it can.
    pub(crate) fn fused(&self) -> bool {
        match self.execution {
            Execution::Auto => !cfg!(densenet_unoptimized),
            Execution::Fused => true,
            Execution::Composed => false,
        }
    }

    /// Whether this pass drops values.
    pub(crate) fn drops(&self, dropout: &super::Dropout) -> bool {
        self.mode.is_train() && dropout.rate > 0.0
    }

    /// Sets [`execution`](Self::execution).
    #[must_use]
    pub fn with_execution(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self
    }
}
