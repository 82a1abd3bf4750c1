//! Configuration of a run's checkpoints: where, when and how many are saved, and whether the run resumes from them.

use super::Monitor;
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The interval between checkpoints of a run. A run also saves one at its end and when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveEvery {
    /// After every N-th step, counted over all epochs; at least 1.
    Steps(u64),
    /// After the first step that ends at least this long after the last save.
    Time(Duration),
    /// After every N-th epoch, evaluation included; at least 1.
    Epochs(usize),
}

/// A part of a run in which a resumed run may differ from the saved one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// [`TrainConfig::epochs`](super::TrainConfig::epochs): to train longer.
    Epochs,
    /// The batch size: [`TrainConfig::batch_size`](super::TrainConfig::batch_size).
    BatchSize,
    /// The seed of the run: [`TrainConfig::seed`](super::TrainConfig::seed).
    Seed,
    /// The learning-rate schedule: [`TrainConfig::schedule`](super::TrainConfig::schedule).
    Schedule,
    /// The preprocessing of batches: [`TrainConfig::preprocess`](super::TrainConfig::preprocess).
    Preprocess,
    /// The mode of training steps: [`TrainConfig::mode`](super::TrainConfig::mode).
    Mode,
    /// The implementation that runs: [`TrainConfig::execution`](super::TrainConfig::execution).
    Execution,
    /// The dtype of features: [`TrainConfig::precision`](super::TrainConfig::precision).
    Precision,
    /// The optimizer's configuration, such as its learning rate.
    Optimizer,
    /// The model's configuration, such as its dropout; the variables have to be the same.
    Model,
    /// The variables that are not trained.
    FrozenVariables,
    /// The loss function of the training.
    Loss,
    /// The callbacks that have a state, and their settings. Those that are new start anew.
    Callbacks,
    /// Whether steps whose values are not finite are skipped:
    /// [`TrainConfig::with_skip_non_finite`](super::TrainConfig::with_skip_non_finite).
    SkipNonFinite,
    /// Samples of the training set.
    TrainingSet,
    /// Samples of the validation set.
    ValidationSet,
    /// Samples of the test set.
    TestSet,
}

impl Change {
    /// Returns the field's name in a checkpoint and in [`ConfigMismatch`](crate::error::CheckpointError::ConfigMismatch).
    pub(super) fn field(self) -> &'static str {
        match self {
            Change::Epochs => "epochs",
            Change::BatchSize => "batch_size",
            Change::Seed => "seed",
            Change::Schedule => "schedule",
            Change::Preprocess => "preprocess",
            Change::Mode => "mode",
            Change::Execution => "execution",
            Change::Precision => "precision",
            Change::Optimizer => "optimizer",
            Change::Model => "model",
            Change::FrozenVariables => "frozen variables",
            Change::Loss => "loss",
            Change::Callbacks => "callbacks",
            Change::SkipNonFinite => "skip_non_finite",
            Change::TrainingSet => "training set",
            Change::ValidationSet => "validation set",
            Change::TestSet => "test set",
        }
    }
}

config! {
    /// Configuration of a run's checkpoints: where, when and how many are saved, and whether the run resumes from them.
    ///
    /// A resumed run ends with the same result, bit for bit, as one that was never interrupted.
    ///
    /// # Examples
    ///
    /// A run that saves its state every 500 steps, and that continues after a crash when the program is started again:
    ///
    /// ```no_run
    /// use densenet::train::{CheckpointConfig, Monitor, SaveEvery};
    ///
    /// # fn with(trainer: densenet::Trainer<densenet::DenseNet>) -> densenet::Trainer<densenet::DenseNet> {
    /// let checkpoints = CheckpointConfig::in_folder("runs/flowers/checkpoints")
    ///     .with_every(SaveEvery::Steps(500))
    ///     .with_keep_last(3)
    ///     .with_keep_best(1, Monitor::accuracy())
    ///     .with_resume();
    /// let trainer = trainer.with_checkpoints(checkpoints);
    /// # trainer
    /// # }
    /// ```
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct CheckpointConfig {
        /// Folder of the checkpoints. It is created where it does not exist, and belongs to one run at a time.
        pub folder: PathBuf,
        /// The interval between checkpoints. Default: one epoch.
        pub every: SaveEvery => with_every,
        /// Number of newest checkpoints to keep, at least 2. Default 2.
        pub keep_last: usize => with_keep_last,
        /// Number of checkpoints of the best epochs that are kept, and what decides which epochs are the best.
        pub(super) keep_best: Option<(usize, Monitor)>,
        /// Whether the run continues from the folder's newest checkpoint.
        pub(super) resume: bool,
        /// Parts of a run in which a resumed run may differ from the saved one. Default: none.
        pub allowed_changes: Vec<Change> => with_allowed_changes,
    }
}

impl CheckpointConfig {
    /// Creates a configuration that saves a checkpoint into this folder after every epoch, and keeps the two newest.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        CheckpointConfig {
            folder: folder.into(),
            every: SaveEvery::Epochs(1),
            keep_last: 2,
            keep_best: None,
            resume: false,
            allowed_changes: Vec::new(),
        }
    }

    /// Continues from the folder's newest undamaged checkpoint, and begins a new run where there is none. Default: a new
    /// run, for which a folder that holds checkpoints is an error.
    #[must_use]
    pub fn with_resume(self) -> Self {
        CheckpointConfig { resume: true, ..self }
    }

    /// Keeps the checkpoints of the `count` best epochs by a metric of the validation set, beside the newest ones.
    /// Default: none.
    #[must_use]
    pub fn with_keep_best(mut self, count: usize, monitor: Monitor) -> Self {
        self.keep_best = (count > 0).then_some((count, monitor));
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.every {
            SaveEvery::Steps(0) | SaveEvery::Epochs(0) => Error::at_least_one("steps or epochs between checkpoints", 0),
            _ => Ok(()),
        }
    }
}
