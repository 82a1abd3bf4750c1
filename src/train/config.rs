//! The configuration of a run: everything that changes its result, apart from model, optimizer and data.

use crate::data::{LastBatch, LoaderConfig, Order, Phase, Preprocess};
use crate::error::ConfigError;
use crate::nn::{Execution, ForwardContext, Memory, Mode, Precision};
use crate::optim::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The statistics by which norms normalize in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TrainingNorms {
    /// The statistics of each batch, which also update the running statistics.
    #[default]
    Batch,
    /// The running statistics, which do not change: for fine-tuning a trained network.
    Frozen,
}

config! {
    /// Configuration of a [`Trainer`](super::Trainer).
    ///
    /// # Examples
    ///
    /// The paper's recipe for CIFAR: 300 epochs, batches of 64, and a learning rate that is multiplied by 0.1 at half
    /// and at three quarters of the run.
    ///
    /// ```
    /// use densenet::data::Preprocess;
    /// use densenet::optim::Schedule;
    /// use densenet::{TrainConfig, nn::Precision};
    ///
    /// let config = TrainConfig::new(300)
    ///     .with_batch_size(64)
    ///     .with_seed(1)
    ///     .with_workers(2)
    ///     .with_schedule(Schedule::cifar())
    ///     .with_precision(Precision::Float32)
    ///     .with_preprocess(Preprocess::new().with_size([32, 32]));
    /// assert_eq!(config.epochs, 300);
    /// ```
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct TrainConfig {
        /// Number of passes over the training set, 1 to 1,000,000.
        pub epochs: usize,
        /// Number of samples per step, 1 to 65,536. Default 64.
        pub batch_size: usize => with_batch_size,
        /// Seed of the order of samples, of augmentation and of dropout. Default 0. The model's initial weights have [a
        /// seed of their own](crate::DenseNetConfig).
        pub seed: u64 => with_seed,
        /// Number of worker threads that prefetch batches, at most 256; with 0 the training thread fetches them itself.
        /// Changes no result. Default 1.
        pub workers: usize => with_workers,
        /// Treatment of a last batch that is smaller than the others. Default: it is trained on.
        pub last_batch: LastBatch => with_last_batch,
        /// Preprocessing of each batch on the training device: resizing and normalization.
        pub preprocess: Preprocess => with_preprocess,
        /// The learning rate over the run. Default: constant.
        pub schedule: Schedule => with_schedule,
        /// The statistics by which norms normalize in training. Default: those of each batch.
        pub norms: TrainingNorms => with_norms,
        /// The implementation of the model that runs, in training and evaluation. Default: the fastest.
        pub execution: Execution => with_execution [serde(skip)],
        /// The dtype in which the model runs, in training and evaluation. Default: f32.
        pub precision: Precision => with_precision [serde(skip)],
        /// The activations that a step saves for its backward pass. Changes no result. Default: [`Memory::Keep`].
        pub memory: Memory => with_memory [serde(skip)],
    }
}

impl TrainConfig {
    /// Creates a configuration of `epochs` epochs, with the defaults of all other fields.
    pub fn new(epochs: usize) -> Self {
        TrainConfig {
            epochs,
            batch_size: 64,
            seed: 0,
            workers: 1,
            last_batch: LastBatch::default(),
            preprocess: Preprocess::default(),
            schedule: Schedule::default(),
            norms: TrainingNorms::default(),
            execution: Execution::default(),
            precision: Precision::default(),
            memory: Memory::default(),
        }
    }

    /// Checks what can be checked without data.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=1_000_000).contains(&self.epochs) {
            let (value, expected) = (self.epochs.to_string(), "1 to 1,000,000");
            return Err(Error::Config(ConfigError::InvalidValue { field: "epochs", value, expected }));
        }
        self.schedule.check()?;
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

    /// Returns the configuration of the training set's loader.
    pub(super) fn train_loader(&self) -> LoaderConfig {
        self.loader().with_order(Order::Shuffled).with_last_batch(self.last_batch)
    }

    /// Returns the configuration of the loader of the validation and the test set.
    pub(super) fn evaluation_loader(&self) -> LoaderConfig {
        self.loader().with_phase(Phase::Evaluation)
    }

    fn loader(&self) -> LoaderConfig {
        LoaderConfig::new(self.batch_size).with_workers(self.workers).with_seed(self.seed)
    }
}
