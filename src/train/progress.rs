//! How far a run has come.

use super::History;
use crate::metrics::ScoreSums;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};

/// The place of a run between two steps, and what it has gathered. With the tensors of model and optimizer it is all that the
/// rest of the run depends on: everything random is a function of the seed and of this place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Tells the run from others; it stays the same when the run goes on after a kill.
    pub run_id: String,
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
        // A `RandomState` is seeded by the system and new each time.
        let run_id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Progress { run_id, epoch: 1, step: 0, sums: ScoreSums::default(), seconds: 0.0, history: History::default() }
    }

    /// Steps done in the whole run.
    pub fn steps(&self, steps_per_epoch: usize) -> u64 {
        ((self.epoch - 1) * steps_per_epoch + self.step) as u64
    }

    /// An epoch is done and in the history.
    pub fn next_epoch(&mut self) {
        (self.epoch, self.step) = (self.epoch + 1, 0);
        (self.sums, self.seconds) = (ScoreSums::default(), 0.0);
    }
}
