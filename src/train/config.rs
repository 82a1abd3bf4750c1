//! Everything about a run that changes its result.

use crate::data::{LastBatch, LoaderConfig, Order, Phase, Preprocess, ValidationSize};
use crate::nn::{Execution, ForwardContext, Memory, Mode, Precision};
use crate::optim::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The part of the training set that is held out to choose by: for the best weights, or for early stopping. The test set
/// only reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Validation {
    /// None: all training samples are trained on.
    #[default]
    Off,
    /// This much of the training set, drawn once by the run's seed.
    HoldOut(ValidationSize),
}

/// What norms normalize by in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TrainingNorms {
    /// By each batch's statistics, from which the running ones are learned.
    #[default]
    Batch,
    /// By their running statistics, which stay: for a trained network that is tuned.
    Frozen,
}

/// Configuration of a [`Trainer`](super::Trainer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainConfig {
    /// How often the training set is gone through, 1 to 10⁶.
    pub epochs: usize,
    /// Samples a step, 1 to 65,536. Default 64.
    pub batch_size: usize,
    /// Decides the order of samples, augmentation, the validation split and dropout. Default 0.
    pub seed: u64,
    /// Threads that fetch batches ahead, at most 256; 0 fetches in the training thread. Changes no result. Default 1.
    pub workers: usize,
    /// What happens to a last batch that is smaller than the others in training. Default: it is kept.
    pub last_batch: LastBatch,
    /// What happens to each batch on the training device.
    pub preprocess: Preprocess,
    /// The learning rate over the run. Default: constant.
    pub schedule: Schedule,
    /// Default: off.
    pub validation: Validation,
    /// What norms normalize by in training. Default: each batch's statistics.
    pub norms: TrainingNorms,
    /// Which implementation of the model runs, in training and evaluation.
    #[serde(skip)]
    pub execution: Execution,
    /// In which kind of number the model runs, in training and evaluation. Default: f32.
    #[serde(skip)]
    pub precision: Precision,
    /// What a step keeps between its passes. Changes no result. Default: all that saves time.
    #[serde(skip)]
    pub memory: Memory,
}

impl TrainConfig {
    /// So many epochs, and defaults.
    pub fn new(epochs: usize) -> Self {
        TrainConfig {
            epochs,
            batch_size: 64,
            seed: 0,
            workers: 1,
            last_batch: LastBatch::default(),
            preprocess: Preprocess::default(),
            schedule: Schedule::default(),
            validation: Validation::default(),
            norms: TrainingNorms::default(),
            execution: Execution::default(),
            precision: Precision::default(),
            memory: Memory::default(),
        }
    }

    setters! {
        with_batch_size => batch_size: usize,
        with_seed => seed: u64,
        with_workers => workers: usize,
        with_last_batch => last_batch: LastBatch,
        with_preprocess => preprocess: Preprocess,
        with_schedule => schedule: Schedule,
        with_validation => validation: Validation,
        with_norms => norms: TrainingNorms,
        with_execution => execution: Execution,
        with_precision => precision: Precision,
        with_memory => memory: Memory,
    }

    /// Checks what can be checked without data.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |field, value: String, expected| Err(Error::InvalidConfig { field, value, expected });
        if !(1..=1_000_000).contains(&self.epochs) {
            return invalid("epochs", self.epochs.to_string(), "1 to 1,000,000");
        }
        if let Schedule::Steps { at, factor } = &self.schedule
            && !(factor.is_finite() && *factor > 0.0 && at.iter().all(|share| (0.0..=1.0).contains(share)))
        {
            let value = format!("a division by {factor} at {at:?}");
            return invalid("schedule", value, "a positive factor and shares in [0, 1]");
        }
        self.train_loader().build()?;
        Ok(())
    }

    pub(super) fn train_mode(&self) -> Mode {
        match self.norms {
            TrainingNorms::Batch => Mode::Train,
            TrainingNorms::Frozen => Mode::TrainFrozenNorms,
        }
    }

    pub(super) fn context(&self, mode: Mode) -> ForwardContext {
        let ctx = ForwardContext::new(mode).with_execution(self.execution);
        ctx.with_precision(self.precision).with_memory(self.memory)
    }

    pub(super) fn train_loader(&self) -> LoaderConfig {
        self.evaluation_loader().with_phase(Phase::Train).with_order(Order::Shuffled).with_last_batch(self.last_batch)
    }

    pub(super) fn evaluation_loader(&self) -> LoaderConfig {
        LoaderConfig::new(self.batch_size).with_workers(self.workers).with_seed(self.seed).with_phase(Phase::Evaluation)
    }
}
