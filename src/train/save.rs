//! Saving weights during a run.

use super::early_stop::Best;
use super::{Callback, Event, Flow, Run, Watched};
use crate::weights::save_safetensors;
use crate::{Result, files};
use serde_json::Value;
use std::path::PathBuf;

/// Writes the weights after every epoch and at the end, always to one file.
#[derive(Debug)]
pub struct SaveWeights {
    path: PathBuf,
}

impl SaveWeights {
    /// Writes this safetensors file.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        SaveWeights { path: path.into() }
    }
}

impl Callback for SaveWeights {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        match event {
            Event::FitStarted => files::check_writable(&self.path)?,
            Event::EpochEnded { .. } | Event::FitEnded { .. } => save_safetensors(run.vs, &self.path)?,
            _ => {}
        }
        Ok(Flow::Continue)
    }
}

/// Writes the weights after each epoch that is the best so far on the validation split. Needs
/// [`Validation::HoldOut`](super::Validation::HoldOut).
#[derive(Debug)]
pub struct SaveBest {
    path: PathBuf,
    best: Best,
}

impl SaveBest {
    /// Writes this safetensors file after each epoch with a lower validation loss than all before.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        SaveBest { path: path.into(), best: Best::new(Watched::Loss) }
    }

    /// Watches another figure.
    #[must_use]
    pub fn watching(self, watched: Watched) -> Self {
        SaveBest { best: Best::new(watched), ..self }
    }
}

impl Callback for SaveBest {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        match event {
            Event::FitStarted => {
                Best::require_validation(run, "saving the best weights")?;
                files::check_writable(&self.path)?;
            }
            Event::EpochEnded { record, .. } if self.best.update(record)? => save_safetensors(run.vs, &self.path)?,
            _ => {}
        }
        Ok(Flow::Continue)
    }

    fn state(&self) -> Option<Value> {
        Some(self.best.state())
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        self.best.load_state(state)
    }
}
