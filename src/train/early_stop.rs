//! The callback for early stopping.

use super::monitor::Best;
use super::{Callback, Event, Monitor, Run};
use crate::Result;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Ends a run when a metric of the validation set has not improved for some epochs.
///
/// Afterwards the model has the weights of the last epoch. For those of the best one, add
/// [`SaveWeights::best_to`](super::SaveWeights::best_to) and load its file at the end.
///
/// Without a validation set, or with a [`Monitor`] of a metric that the run does not have, the run ends with an error
/// before its first step.
#[derive(Debug)]
pub struct EarlyStop {
    patience: usize,
    best: Best,
}

impl EarlyStop {
    /// Creates a callback that ends the run after `patience` epochs without a lower validation loss; 0 counts as 1.
    pub fn after(patience: usize) -> Self {
        EarlyStop { patience: patience.max(1), best: Best::by(Monitor::loss()) }
    }

    /// Sets the metric that has to improve. Default: the validation loss.
    #[must_use]
    pub fn with_monitor(self, monitor: Monitor) -> Self {
        EarlyStop { best: Best::by(monitor), ..self }
    }
}

impl Callback for EarlyStop {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => self.best.check(run, "early stopping")?,
            Event::EpochEnded { record, .. } => {
                self.best.update(record)?;
                if record.epoch.saturating_sub(self.best.epoch()) >= self.patience {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn settings(&self) -> Value {
        json!({ "patience": self.patience, "best": self.best.settings() })
    }

    fn state(&self) -> Option<Value> {
        Some(self.best.state())
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        self.best.load_state(state)
    }
}
