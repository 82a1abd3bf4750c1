//! Stopping when the validation split says that it gets no better.

use super::{Callback, EpochRecord, Event, Flow, Run, Validation};
use crate::metrics::Scores;
use crate::{Error, Result};
use serde_json::{Value, json};

/// The figure of the validation split that decides what is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    /// Less is better.
    #[default]
    Loss,
    /// More is better.
    Accuracy,
}

impl Watched {
    /// A number that is larger for better scores.
    pub(super) fn goodness(self, scores: &Scores) -> Result<f64> {
        match self {
            Watched::Loss => Ok(-scores.loss),
            Watched::Accuracy => scores.accuracy.ok_or(Error::NoAccuracy),
        }
    }
}

/// The best validation score so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    watched: Watched,
    goodness: f64,
    /// From 1; 0 before the first.
    pub epoch: usize,
}

impl Best {
    pub fn new(watched: Watched) -> Self {
        Best { watched, goodness: f64::NEG_INFINITY, epoch: 0 }
    }

    /// An error where a run has no validation split: the test set must not choose.
    pub fn require_validation(run: &Run, wanted_by: &'static str) -> Result<()> {
        match run.config.validation {
            Validation::Off => Err(Error::NoValidation { wanted_by }),
            Validation::HoldOut(_) => Ok(()),
        }
    }

    /// To remember.
    pub fn state(&self) -> Value {
        json!({ "epoch": self.epoch, "goodness": (self.epoch > 0).then_some(self.goodness) })
    }

    pub fn load_state(&mut self, state: &Value) -> Result<()> {
        let epoch = state["epoch"].as_u64();
        let epoch = epoch.ok_or_else(|| Error::StateMismatch {
            name: "best epoch".to_owned(),
            problem: format!("{state} has no epoch"),
        })?;
        self.epoch = epoch as usize;
        self.goodness = state["goodness"].as_f64().unwrap_or(f64::NEG_INFINITY);
        Ok(())
    }

    /// Takes in an epoch; says whether it is the best so far.
    pub fn update(&mut self, record: &EpochRecord) -> Result<bool> {
        let scores = record.validation.as_ref().expect("the run has a validation split");
        let goodness = self.watched.goodness(scores)?;
        let better = goodness > self.goodness;
        if better {
            *self = Best { goodness, epoch: record.epoch, ..*self };
        }
        Ok(better)
    }
}

/// Ends a run when the validation split has not got better for some epochs. Needs [`Validation::HoldOut`].
#[derive(Debug)]
pub struct EarlyStop {
    patience: usize,
    best: Best,
}

impl EarlyStop {
    /// Stops after so many epochs without a lower validation loss.
    pub fn after(patience: usize) -> Self {
        EarlyStop { patience, best: Best::new(Watched::Loss) }
    }

    /// Watches another figure.
    #[must_use]
    pub fn watching(self, watched: Watched) -> Self {
        EarlyStop { best: Best::new(watched), ..self }
    }
}

impl Callback for EarlyStop {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        match event {
            Event::FitStarted => Best::require_validation(run, "early stopping")?,
            Event::EpochEnded { record, .. } => {
                self.best.update(record)?;
                if record.epoch - self.best.epoch >= self.patience.max(1) {
                    return Ok(Flow::Stop);
                }
            }
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
