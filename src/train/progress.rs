//! The position of a run.

use super::History;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};

/// The position of a run between two steps, and its history. Together with the tensors of model and optimizer and the
/// states of the metrics it determines the rest of the run: all random numbers are functions of the seed and this
/// position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Unique identifier of the run; a resumed run has the same.
    pub run_id: String,
    /// 1-based index of the epoch that is being trained; one more than there are epochs once all are done.
    pub epoch: usize,
    /// Number of finished steps of this epoch.
    pub step: usize,
    /// Duration of these steps in seconds.
    pub seconds: f64,
    /// History of the finished epochs.
    pub history: History,
}

impl Progress {
    /// Returns the position before the first step.
    pub fn start() -> Self {
        // A `RandomState` is seeded by the system and new each time.
        let run_id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Progress { run_id, epoch: 1, step: 0, seconds: 0.0, history: History::default() }
    }

    /// Returns the number of finished steps over all epochs.
    pub fn steps(&self, steps_per_epoch: usize) -> u64 {
        ((self.epoch - 1) * steps_per_epoch + self.step) as u64
    }

    /// Moves on to the next epoch.
    pub fn next_epoch(&mut self) {
        (self.epoch, self.step, self.seconds) = (self.epoch + 1, 0, 0.0);
    }
}
