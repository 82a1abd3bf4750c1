//! What a training run reached, epoch by epoch.

use crate::metrics::Scores;
use serde::{Deserialize, Serialize};

/// One epoch of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Scores over the training samples, taken during training, in training mode.
    pub train: Scores,
    /// Scores over the validation split after the epoch, where the configuration asks for one.
    pub validation: Option<Scores>,
    /// Scores over the test set after the epoch.
    pub test: Scores,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Seconds spent training, evaluation not included.
    pub train_seconds: f64,
    /// Seconds spent evaluating.
    pub evaluation_seconds: f64,
}

impl EpochRecord {
    /// Training samples a second.
    pub fn samples_per_second(&self) -> f64 {
        self.train.samples as f64 / self.train_seconds.max(f64::MIN_POSITIVE)
    }
}

/// The finished epochs of a run, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One record an epoch.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// The newest record.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// Seconds spent training, evaluation not included.
    pub fn train_seconds(&self) -> f64 {
        self.epochs.iter().map(|record| record.train_seconds).sum()
    }

    /// Training samples a second, over the whole run.
    pub fn samples_per_second(&self) -> f64 {
        let samples: usize = self.epochs.iter().map(|record| record.train.samples).sum();
        samples as f64 / self.train_seconds().max(f64::MIN_POSITIVE)
    }
}
