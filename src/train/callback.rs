//! Callbacks: code that a run calls at its events, such as progress bars, logs, plots, saving and early stopping.

use super::evaluate::Inference;
use super::{Datasets, EpochRecord, Evaluation, History, Loss, TrainConfig};
use crate::data::{Dataset, Phase, SampleKey, fetch};
use crate::metrics::MetricSet;
use crate::models::Model;
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::time::Duration;
use tch::Tensor;
use tch::nn::VarStore;

/// Code that a run calls at its events, and that may end the run. A callback has read access; whatever changes a step
/// belongs in [`TrainConfig`].
///
/// A callback that appends to a file should cut it back at [`Event::Resumed`]: after a kill the file has lines that are
/// newer than the checkpoint. [`HistoryFile`](crate::report::HistoryFile) rewrites its file instead.
///
/// # Examples
///
/// A callback that prints the learning rate of every tenth step, and ends the run at a loss that is low enough:
///
/// ```
/// use densenet::Result;
/// use densenet::train::{Callback, Event, Run};
/// use std::ops::ControlFlow;
///
/// struct UntilLoss(f64);
///
/// impl Callback for UntilLoss {
///     fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
///         match event {
///             Event::StepEnded { epoch, step, learning_rate, .. } if step % 10 == 0 => {
///                 println!("epoch {epoch}, step {step} of {}: learning rate {learning_rate}", run.steps_per_epoch);
///             }
///             Event::EpochEnded { record, .. } if record.train.loss() < self.0 => return Ok(ControlFlow::Break(())),
///             _ => {}
///         }
///         Ok(ControlFlow::Continue(()))
///     }
/// }
/// ```
///
/// A callback with a state: it counts steps over all interruptions of the run.
///
/// ```
/// use densenet::error::CheckpointError;
/// use densenet::serde_json::{Value, json};
/// use densenet::train::{Callback, Event, Run};
/// use densenet::{Error, Result};
/// use std::ops::ControlFlow;
///
/// #[derive(Default)]
/// struct CountSteps(u64);
///
/// impl Callback for CountSteps {
///     fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
///         self.0 += u64::from(matches!(event, Event::StepEnded { .. }));
///         Ok(ControlFlow::Continue(()))
///     }
///
///     fn state(&self) -> Option<Value> {
///         Some(json!(self.0))
///     }
///
///     fn load_state(&mut self, state: &Value) -> Result<()> {
///         let problem = || format!("{state} is no number of steps");
///         let mismatch = || CheckpointError::StateMismatch { name: "steps".to_owned(), problem: problem() };
///         self.0 = state.as_u64().ok_or_else(|| Error::Checkpoint(mismatch()))?;
///         Ok(())
///     }
/// }
/// ```
pub trait Callback {
    /// Handles an event. Every callback gets every [`Event`], in the order in which the callbacks were added.
    ///
    /// [`ControlFlow::Break`] ends the run: after the current step, between the steps of two epochs after the epoch,
    /// and at [`FitStarted`](Event::FitStarted) before the first step. The end belongs to the run, so that resuming it
    /// does nothing. To interrupt a run that is to be resumed, use a [`StopHandle`](super::StopHandle).
    ///
    /// # Errors
    ///
    /// Any error, which ends the run if the callback is [essential](Self::is_essential).
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>>;

    /// Whether an error of this callback ends the run. The provided implementation returns true. Output that a run can
    /// do without, such as a log on the console, a progress bar or a report, returns false: the run then reports the
    /// error once as a [`Event::Warning`], does not call the callback again, and continues.
    fn is_essential(&self) -> bool {
        true
    }

    /// Returns the name of the callback in messages and checkpoints: by default that of its type, without its path.
    fn name(&self) -> String {
        let name = std::any::type_name::<Self>();
        let path = name.split('<').next().unwrap_or(name);
        path.rsplit("::").next().unwrap_or(path).to_owned()
    }

    /// Returns the settings on which the callback's state depends, such as the metric that it monitors. A resumed run
    /// finds the state of a callback by its name and its settings. With other settings it is refused, or starts the
    /// callback anew under [`Change::Callbacks`](super::Change::Callbacks). What may differ, such as the path of a file,
    /// does not belong here. The provided implementation returns null.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Returns the state that is saved in checkpoints, so that a resumed run continues with it. A callback without a
    /// state always returns `None`, as the provided implementation does.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Restores a state that [`state`](Self::state) returned. It is called before [`Event::FitStarted`].
    ///
    /// # Errors
    ///
    /// [`CheckpointError::StateMismatch`](crate::error::CheckpointError::StateMismatch) for any other state.
    fn load_state(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// An event of a training run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// All checks have passed; the first step comes next, at the position that [`Run`] has.
    FitStarted,
    /// The run continues from a checkpoint; comes after `FitStarted`.
    Resumed {
        /// 1-based index of the epoch that continues; one more than there are epochs where the run was finished.
        epoch: usize,
        /// Number of steps of this epoch that were done before; all of them where its evaluation comes next.
        step: usize,
        /// The errors of newer checkpoints, which were skipped.
        skipped: &'a [Error],
    },
    /// Something is probably not intended, and the run continues; comes after `FitStarted`.
    Warning {
        /// The warning as a sentence.
        message: &'a str,
    },
    /// A step has ended: the variables are updated.
    StepEnded {
        /// 1-based index of the epoch.
        epoch: usize,
        /// 1-based index of the step in this epoch.
        step: usize,
        /// Mean loss of the batch.
        loss: f64,
        /// Number of samples in the batch.
        samples: usize,
        /// Learning rate of this step, as computed by the schedule.
        learning_rate: f64,
        /// Duration of the step, fetching the batch included.
        duration: Duration,
    },
    /// A step made no update, because its loss, a gradient or a running statistic was not finite; comes instead of
    /// `StepEnded`, under [`with_skip_non_finite`](TrainConfig::with_skip_non_finite).
    StepSkipped {
        /// 1-based index of the epoch.
        epoch: usize,
        /// 1-based index of the step in this epoch.
        step: usize,
        /// The error with which the run would end otherwise.
        error: &'a Error,
    },
    /// The steps of an epoch have ended; its evaluation comes next.
    EvaluationStarted {
        /// 1-based index of the epoch.
        epoch: usize,
    },
    /// An epoch was evaluated and is the last record of the history.
    EpochEnded {
        /// The record of the epoch.
        record: &'a EpochRecord,
        /// Metrics, predictions and confusion matrix on the validation set, where the run has one.
        validation: Option<&'a Evaluation>,
        /// Metrics, predictions and confusion matrix on the test set, where the run has one.
        test: Option<&'a Evaluation>,
    },
    /// A checkpoint was saved to the disk.
    CheckpointSaved {
        /// Number of steps so far, counted over all epochs.
        steps: u64,
    },
    /// The run has ended.
    FitEnded {
        /// The outcome of the run.
        outcome: Outcome,
    },
    /// The run fails with an error, which [`Trainer::fit`](super::Trainer::fit) returns. Its state was saved where it
    /// has checkpoints and is undamaged.
    FitFailed {
        /// The error that ends the run.
        error: &'a Error,
    },
}

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The run ended after its last epoch.
    Finished,
    /// A callback ended the run early, such as [`EarlyStop`](super::EarlyStop). Resuming the run does nothing, unless
    /// epochs are added or the callbacks change.
    EndedEarly,
    /// A [`StopHandle`](super::StopHandle) interrupted the run. Resuming it, or calling `fit` again, continues it.
    Interrupted,
}

/// Read access to a run.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Run<'a> {
    /// Unique identifier of the run, 16 hexadecimal digits. A resumed run has the same.
    pub id: &'a str,
    /// 1-based index of the current epoch; one more than there are epochs once all are done.
    pub epoch: usize,
    /// Number of finished steps of the current epoch.
    pub step: usize,
    /// Configuration of the run.
    pub config: &'a TrainConfig,
    /// History of the finished epochs.
    pub history: &'a History,
    /// The model in training.
    pub model: &'a dyn Model,
    /// Variables of the model.
    pub vs: &'a VarStore,
    /// The data sets of the run.
    pub datasets: Datasets<'a>,
    /// Number of steps per epoch.
    pub steps_per_epoch: usize,
    /// The optimizer's configured learning rate, from which the schedule computes that of each step. The rate of a step
    /// is in [`Event::StepEnded`], that of an epoch's last step in its [`EpochRecord`].
    pub base_learning_rate: f64,
    pub(super) loss: &'a dyn Loss,
    pub(super) metrics: &'a MetricSet,
}

impl Run<'_> {
    /// Evaluates the model in its current state.
    ///
    /// # Errors
    ///
    /// Those of the data set and of the model.
    pub fn evaluate(&self, dataset: &dyn Dataset) -> Result<Evaluation> {
        Inference::of_run(self.config, self.model, self.vs).evaluate_all(self.loss, self.metrics.fresh(), dataset)
    }

    /// Returns training samples as the model gets them in an epoch, which is counted from 0: augmented, preprocessed, and
    /// mixed with one another where the run mixes. They are inputs `[N, …]` on the device of the model.
    ///
    /// # Errors
    ///
    /// Those of the data set and of the preprocessing.
    pub fn training_inputs(&self, indices: &[usize], epoch: u64) -> Result<Tensor> {
        let TrainConfig { seed, preprocess, mixing, .. } = self.config;
        let key = |&index| SampleKey { index, epoch, seed: *seed, phase: Phase::Train };
        let batch = fetch(self.datasets.train, &indices.iter().map(key).collect::<Vec<_>>())?;
        let tensors = preprocess.tensors(&batch, self.vs.device())?;
        let classes = self.datasets.train.classes().len() as i64;
        Ok(mixing.apply(tensors, classes, *seed, epoch << 32)?.0)
    }

    /// Returns the names of the run's metrics: "loss", "accuracy", then the others sorted.
    pub fn metric_names(&self) -> Vec<String> {
        self.metrics.names()
    }
}
