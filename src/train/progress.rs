//! How far a run has come.

use super::History;
use crate::metrics::ScoreSums;
use serde::{Deserialize, Serialize};

/// The place of a run between two steps, and what it has gathered. With the tensors of model and optimiser it is all that the
/// rest of the run depends on: everything random is a function of the seed and of this place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The epoch that is trained, from 1; one more than there are once all are done.
    pub epoch: usize,
    /// Steps of it that are done.
    pub step: usize,
    /// Over these steps.
    pub sums: ScoreSums,
    /// Seconds that these steps took.
    pub seconds: f64,
    /// The finished epochs.
    pub history: History,
}

impl Progress {
    /// Before the first step.
    pub fn start() -> Self {
        Progress { epoch: 1, step: 0, sums: ScoreSums::default(), seconds: 0.0, history: History::default() }
    }

    /// Steps done in the whole run.
    pub fn steps(&self, steps_per_epoch: usize) -> u64 {
        ((self.epoch - 1) * steps_per_epoch + self.step) as u64
    }

    /// An epoch is done and in the history.
    pub fn next_epoch(&mut self) {
        *self = Progress { epoch: self.epoch + 1, history: std::mem::take(&mut self.history), ..Progress::start() };
    }
}
