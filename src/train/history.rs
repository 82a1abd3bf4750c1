//! The metrics of a training run, epoch by epoch.

use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};

/// Metrics, learning rate and times of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochRecord {
    /// 1-based index of the epoch.
    pub epoch: usize,
    /// Metrics over the training samples, measured during training, in training mode.
    pub train: Metrics,
    /// Metrics over the validation set after the epoch, where the run has one.
    pub validation: Option<Metrics>,
    /// Metrics over the test set after the epoch, where the run has one.
    pub test: Option<Metrics>,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Seconds spent in training, without evaluation.
    pub train_seconds: f64,
    /// Seconds spent in evaluation.
    pub evaluation_seconds: f64,
    /// Number of steps that made no update, see
    /// [`TrainConfig::with_skip_non_finite`](super::TrainConfig::with_skip_non_finite).
    pub skipped_steps: usize,
    /// Number of samples, of training and evaluation, that could not be read and whose places others took, see
    /// [`Batch::skipped`](crate::data::Batch::skipped). A sample counts each time.
    #[serde(default)]
    pub skipped_samples: usize,
}

impl EpochRecord {
    /// Returns the training samples per second.
    pub fn samples_per_second(&self) -> f64 {
        self.train.samples as f64 / self.train_seconds.max(f64::MIN_POSITIVE)
    }
}

/// The finished epochs of a run, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One record per epoch.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// Returns the newest record; `None` before the first epoch ends.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// Seconds spent in training, without evaluation.
    pub fn train_seconds(&self) -> f64 {
        self.epochs.iter().map(|record| record.train_seconds).sum()
    }

    /// Returns the training samples per second, over all epochs.
    pub fn samples_per_second(&self) -> f64 {
        let samples: usize = self.epochs.iter().map(|record| record.train.samples).sum();
        samples as f64 / self.train_seconds().max(f64::MIN_POSITIVE)
    }
}
