//! Callbacks that save weights during a run.

use super::monitor::Best;
use super::{Callback, Event, Monitor, Run};
use crate::weights::save_safetensors;
use crate::{Result, files};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Saves the weights after every epoch and at the end of the run, always to one file.
#[derive(Debug)]
pub struct SaveWeights {
    path: PathBuf,
}

impl SaveWeights {
    /// Creates a callback that saves to this safetensors file.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        SaveWeights { path: path.into() }
    }
}

impl Callback for SaveWeights {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => files::check_writable(&self.path)?,
            Event::EpochEnded { .. } | Event::FitEnded { .. } => save_safetensors(run.vs, &self.path)?,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Saves the weights after each epoch that is the best so far by a metric of the validation set.
///
/// Without a validation set, or with a [`Monitor`] of a metric that the run does not have, the run ends with an error
/// before its first step.
#[derive(Debug)]
pub struct SaveBest {
    path: PathBuf,
    best: Best,
}

impl SaveBest {
    /// Creates a callback that saves to this safetensors file after each epoch with a lower validation loss than all
    /// before.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        SaveBest { path: path.into(), best: Best::by(Monitor::loss()) }
    }

    /// Sets the metric that decides which epoch is the best. Default: the validation loss.
    #[must_use]
    pub fn with_monitor(self, monitor: Monitor) -> Self {
        SaveBest { best: Best::by(monitor), ..self }
    }
}

impl Callback for SaveBest {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => {
                self.best.check(run, "saving the best weights")?;
                files::check_writable(&self.path)?;
            }
            Event::EpochEnded { record, .. } if self.best.update(record)? => save_safetensors(run.vs, &self.path)?,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn state(&self) -> Option<Value> {
        Some(self.best.state())
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        self.best.load_state(state)
    }
}
