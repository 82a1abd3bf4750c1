//! The configuration of a run: everything that changes its result, apart from model, optimizer and data.

use super::{DataPlacement, Mixing, TestTimeAugment};
use crate::data::{LoaderConfig, Phase, Preprocess};
use crate::nn::{Execution, ForwardContext, Memory, Mode, Precision};
use crate::optim::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

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
        /// Number of times that a failed read of a batch is repeated, with a growing pause. Changes no result. Default 0.
        pub retries: usize => with_retries,
        /// Whether steps whose values are not finite are skipped.
        pub(crate) skip_non_finite: bool,
        /// Whether the last samples of an epoch are left out where they do not fill a batch.
        pub(crate) drop_last: bool,
        /// Preprocessing of each batch on the training device: resizing and normalization.
        pub preprocess: Preprocess => with_preprocess,
        /// Mixing of the samples of each training batch, for data sets of classes. Default: [`Mixing::None`].
        pub mixing: Mixing => with_mixing [serde(default, skip_serializing_if = "Mixing::is_none")],
        /// Views of each validation and test image over which the outputs are averaged. Default: the image itself.
        pub test_time_augment: TestTimeAugment => with_test_time_augment
            [serde(default, skip_serializing_if = "TestTimeAugment::is_none")],
        /// Where the samples of the training set wait for their step. Changes no result. Default:
        /// [`DataPlacement::Host`].
        pub data_placement: DataPlacement => with_data_placement [serde(skip)],
        /// Number of steps, 1 to 1,000, after which the host waits for the device: for their losses, metrics and checks
        /// of finite values, all at once. More steps keep a GPU busy, and take memory for their batches and for a copy of
        /// variables and optimizer. Changes no number of the run. Callbacks get the events of these steps together: one
        /// that ends the run, or a stop, ends it after them, and after a callback's error the last save is the newest
        /// state. Default 1.
        pub sync_interval: usize => with_sync_interval [serde(skip)],
        /// The learning rate over the run. Default: constant.
        pub schedule: Schedule => with_schedule,
        /// The mode of a training step: [`Mode::Train`], or [`Mode::TrainFrozenNorms`] to fine-tune a trained network.
        /// Default: `Train`.
        pub mode: Mode => with_mode,
        /// The implementation of the model that runs, in training and evaluation. Default: the fastest.
        pub execution: Execution => with_execution [serde(skip)],
        /// The dtype in which the model runs, in training and evaluation. Default: f32.
        pub precision: Precision => with_precision [serde(skip)],
        /// The activations that a step saves for its backward pass. Changes no result. Default: [`Memory::Keep`].
        pub(crate) memory: Memory => with_memory [serde(skip)],
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
            retries: 0,
            skip_non_finite: false,
            drop_last: false,
            preprocess: Preprocess::default(),
            mixing: Mixing::None,
            test_time_augment: TestTimeAugment::new(),
            data_placement: DataPlacement::default(),
            sync_interval: 1,
            schedule: Schedule::default(),
            mode: Mode::Train,
            execution: Execution::default(),
            precision: Precision::default(),
            memory: Memory::default(),
        }
    }

    /// Saves less for the backward pass, which runs the first convolution of each bottleneck layer once more
    /// (activation checkpointing): gradients are the same, bit for bit. A training step of DenseNet-121 on 16 images of
    /// 224×224 in f32 took 562 MB instead of 895 MB, and ran at 9.5 instead of 11.0 images/s on two cores.
    #[must_use]
    pub fn with_recompute(self) -> Self {
        self.with_memory(Memory::Recompute)
    }

    /// Leaves out the last samples of an epoch where they do not fill a batch. Default: they form a smaller batch.
    #[must_use]
    pub fn with_drop_last(self) -> Self {
        TrainConfig { drop_last: true, ..self }
    }

    /// Skips steps whose loss, gradients or running statistics are NaN or infinite, and counts them in
    /// [`EpochRecord::skipped_steps`](super::EpochRecord::skipped_steps); an epoch without any other step is an error.
    /// Default: the run ends with an error that names the step. In either case the step changes nothing.
    #[must_use]
    pub fn with_skip_non_finite(self) -> Self {
        TrainConfig { skip_non_finite: true, ..self }
    }

    /// Checks what can be checked without data.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=1_000_000).contains(&self.epochs) {
            let (value, expected) = (self.epochs.to_string(), "1 to 1,000,000");
            return Err(Error::invalid_value("epochs", value, expected));
        }
        if !(1..=1000).contains(&self.sync_interval) {
            let (value, expected) = (self.sync_interval.to_string(), "1 to 1,000");
            return Err(Error::invalid_value("sync interval", value, expected));
        }
        if self.mode == Mode::Eval {
            let (field, value, expected) = ("mode", "Eval".to_owned(), "a mode of training");
            return Err(Error::invalid_value(field, value, expected));
        }
        self.mixing.check()?;
        self.schedule.check()?;
        self.train_loader().build()?;
        Ok(())
    }

    pub(super) fn context(&self, mode: Mode) -> ForwardContext {
        let ctx = ForwardContext::new(mode).with_execution(self.execution);
        ctx.with_precision(self.precision).with_memory(self.memory)
    }

    /// Returns the configuration of the training set's loader.
    pub(super) fn train_loader(&self) -> LoaderConfig {
        let loader = self.loader().with_shuffle();
        if self.drop_last { loader.with_drop_last() } else { loader }
    }

    /// Returns the configuration of the loader of the validation and the test set.
    pub(super) fn evaluation_loader(&self) -> LoaderConfig {
        self.loader().with_phase(Phase::Evaluation)
    }

    fn loader(&self) -> LoaderConfig {
        let loader = LoaderConfig::new(self.batch_size).with_workers(self.workers).with_seed(self.seed);
        loader.with_retries(self.retries)
    }
}
