//! The position of a run.

use super::{Callback, History, callback_states};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The position of a run between two steps, its history, and its end. Together with the tensors of model and optimizer
/// and the states of metrics and callbacks it determines the rest of the run: all random numbers are functions of the
/// seed and this position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Unique identifier of the run; a resumed run has the same.
    pub run_id: String,
    /// 1-based index of the epoch that is being trained; one more than there are epochs once all are done.
    pub epoch: usize,
    /// Number of finished steps of this epoch.
    pub step: usize,
    /// Number of samples of this epoch that these steps consumed. It is the position in the data, since the batch size
    /// of a resumed run may differ.
    pub samples: usize,
    /// Whether all steps of this epoch are finished, so that its evaluation comes next.
    pub is_evaluating: bool,
    /// Number of finished steps over all epochs.
    pub steps: u64,
    /// Number of steps of this epoch that made no update, because a value was not finite.
    pub skipped_steps: usize,
    /// Number of samples of this epoch whose places others took.
    #[serde(default)]
    pub skipped_samples: usize,
    /// Duration of the steps of this epoch in seconds.
    pub seconds: f64,
    /// History of the finished epochs.
    pub history: History,
    /// How the run ended; `None` while there is something left to do.
    pub end: Option<End>,
}

/// The position of a step in its run: its epoch and its number in that epoch, both from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub epoch: usize,
    pub step: usize,
}

/// The end of a run, after which resuming it does nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    /// The name of the callback that ended the run; `None` after the last epoch.
    pub callback: Option<String>,
    /// The configured number of epochs.
    epochs: usize,
    /// The callbacks that may have ended the run, by name and settings.
    callbacks: Value,
}

impl End {
    /// Records the end of a run with this number of configured epochs.
    pub fn new(callback: Option<String>, epochs: usize, callbacks: &[Box<dyn Callback>]) -> Self {
        End { callback, epochs, callbacks: callback_states::description(callbacks) }
    }

    /// Whether a run continues after all: epochs were added, or the callbacks that may have ended it are others.
    pub fn is_revoked(&self, epochs: usize, callbacks: &[Box<dyn Callback>]) -> bool {
        let has_others = || self.callbacks != callback_states::description(callbacks);
        epochs > self.epochs || (self.callback.is_some() && has_others())
    }
}

impl Progress {
    /// Returns the position before the first step.
    pub fn start() -> Self {
        // A `RandomState` is seeded by the system and new each time.
        let run_id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Progress {
            run_id,
            epoch: 1,
            step: 0,
            samples: 0,
            is_evaluating: false,
            steps: 0,
            skipped_steps: 0,
            skipped_samples: 0,
            seconds: 0.0,
            history: History::default(),
            end: None,
        }
    }

    /// Returns the place of the step after the next `steps` ones.
    pub fn next_place(&self, steps: usize) -> Place {
        Place { epoch: self.epoch, step: self.step + 1 + steps }
    }

    /// Advances by a step.
    pub fn end_step(&mut self, samples: usize, duration: Duration) {
        self.step += 1;
        self.steps += 1;
        self.samples += samples;
        self.seconds += duration.as_secs_f64();
    }

    /// Advances to the next epoch.
    pub fn end_epoch(&mut self) {
        (self.epoch, self.step, self.samples) = (self.epoch + 1, 0, 0);
        (self.is_evaluating, self.skipped_steps, self.skipped_samples, self.seconds) = (false, 0, 0, 0.0);
    }
}
