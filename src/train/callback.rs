//! Who watches a run: bars, logs, plots, saving, early stopping.

use super::evaluate::Inference;
use super::{EpochRecord, Evaluation, History, Loss, TrainConfig};
use crate::Result;
use crate::data::Dataset;
use crate::models::Model;
use std::time::Duration;
use tch::nn::VarStore;

/// Is told what happens in a run, and may end it. It reads; what changes a step belongs in [`TrainConfig`].
pub trait Callback {
    /// Called at every [`Event`], in the order in which the callbacks were added.
    ///
    /// # Errors
    ///
    /// An error ends the run with it.
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow>;

    /// What it has to remember when a run goes on in another process; `None` if nothing, always or never.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Takes over what [`state`](Self::state) gave.
    ///
    /// # Errors
    ///
    /// [`Error::StateMismatch`](crate::Error::StateMismatch) where it is something else.
    fn load_state(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On.
    Continue,
    /// It ends: after this step if that is where it was, else after this epoch.
    Stop,
}

impl Flow {
    /// Stops if either wants to.
    pub(super) fn and(self, other: Flow) -> Flow {
        if self == Flow::Stop { self } else { other }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// All checks passed; the first step comes next.
    FitStarted,
    /// The run goes on where a checkpoint was saved; comes after `FitStarted`.
    Resumed {
        /// The epoch that goes on, from 1; one more than there are where the run was finished.
        epoch: usize,
        /// Steps of it that were done before.
        step: usize,
    },
    /// A step was made.
    StepEnded {
        /// The epoch, from 1.
        epoch: usize,
        /// The step in this epoch, from 1.
        step: usize,
        /// Mean loss of the batch.
        loss: f64,
        /// Samples in the batch.
        samples: usize,
        /// How long the step took, fetching the batch included.
        duration: Duration,
    },
    /// The steps of an epoch are done; its evaluation comes next.
    EvaluationStarted {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// An epoch was evaluated and is the last record of the history.
    EpochEnded {
        /// Its record.
        record: &'a EpochRecord,
        /// What the model reached on the test set.
        test: &'a Evaluation,
    },
    /// The state after so many steps of the whole run is on the disk.
    CheckpointSaved {
        /// Steps, counted over the whole run.
        steps: u64,
    },
    /// The run is over.
    FitEnded {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After its last epoch.
    Finished,
    /// Early, as a stop handle or an callback wanted.
    Stopped {
        /// The epoch in which it stopped, from 1.
        epoch: usize,
        /// The last step made in that epoch, from 1.
        step: usize,
        /// Whether that epoch was completed and evaluated.
        epoch_completed: bool,
    },
}

/// Read access to a run.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Run<'a> {
    /// Sixteen hexadecimal digits that tell the run from others, and stay when it goes on after a kill.
    pub id: &'a str,
    /// The run's configuration.
    pub config: &'a TrainConfig,
    /// The finished epochs.
    pub history: &'a History,
    /// The model.
    pub model: &'a dyn Model,
    /// The model's variables.
    pub vs: &'a VarStore,
    /// The samples that are trained on, without the validation split.
    pub train: &'a dyn Dataset,
    /// The test set.
    pub test: &'a dyn Dataset,
    /// Steps an epoch.
    pub steps_per_epoch: usize,
    /// The optimizer's learning rate, which a schedule may change from step to step.
    pub learning_rate: f64,
    pub(super) loss: &'a dyn Loss,
}

impl Run<'_> {
    /// Evaluates the model as it is now.
    ///
    /// # Errors
    ///
    /// Those of the data set and of the model.
    pub fn evaluate(&self, dataset: &dyn Dataset) -> Result<Evaluation> {
        Inference::of_run(self.config, self.model, self.vs).evaluate(self.loss, dataset)
    }
}
