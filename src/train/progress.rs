//! How far a run has come.

use super::History;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};

/// The position of a run between two steps, and its history. With the tensors of model and optimizer, and what the metrics
/// have gathered in the epoch, it is all that the rest of the run depends on: everything random is a function of the seed
/// and of this position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Tells the run from others; a resumed run keeps it.
    pub run_id: String,
    /// 1-based index of the epoch that is being trained; one more than there are epochs once all are done.
    pub epoch: usize,
    /// Steps of this epoch that are done.
    pub step: usize,
    /// Seconds that these steps took.
    pub seconds: f64,
    /// The finished epochs.
    pub history: History,
}

impl Progress {
    /// The position before the first step.
    pub fn start() -> Self {
        // A `RandomState` is seeded by the system and new each time.
        let run_id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Progress { run_id, epoch: 1, step: 0, seconds: 0.0, history: History::default() }
    }

    /// Steps done in the whole run.
    pub fn steps(&self, steps_per_epoch: usize) -> u64 {
        ((self.epoch - 1) * steps_per_epoch + self.step) as u64
    }

    /// Moves on to the next epoch.
    pub fn next_epoch(&mut self) {
        (self.epoch, self.step, self.seconds) = (self.epoch + 1, 0, 0.0);
    }
}
