//! The trainer: the parts of a run, and one step of it.

use super::callback::Callback;
use super::checked::CheckedTensors;
use super::checkpoints::Checkpoints;
use super::evaluate::Inference;
use super::loss::CrossEntropy;
use super::progress::{Place, Progress};
use super::run_data::RunData;
use super::run_loop::RunLoop;
use super::{CheckpointConfig, Datasets, Evaluation, History, Loss, Outcome, StopHandle, TrainConfig};
use crate::Result;
use crate::data::Dataset;
use crate::metrics::{Metric, MetricSet};
use crate::models::Model;
use crate::optim::Optimizer;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;
use tch::nn::VarStore;

/// Trains a model on a data set, and evaluates it after each epoch.
///
/// # Examples
///
/// ```
/// use densenet::data::{SyntheticConfig, split_validation};
/// use densenet::optim::SgdConfig;
/// use densenet::train::{Datasets, EarlyStop, TrainConfig, Trainer};
/// use densenet::{DenseNetConfig, default_device, tch::nn::VarStore};
///
/// let vs = VarStore::new(default_device());
/// let model = DenseNetConfig::new(3)
///     .with_input_channels(1)
///     .with_initial_channels(8)
///     .with_growth_rate(4)
///     .with_layers_per_block([1, 1])
///     .build(&vs.root())?;
/// let optimizer = SgdConfig::new(0.1).build(&vs)?;
/// let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(2).with_batch_size(16))?
///     .with_callback(EarlyStop::after(5));
///
/// let samples = SyntheticConfig::new(80).with_sample_shape([1, 16, 16]).with_classes(3);
/// let (all, test) = (samples.clone().build()?, samples.with_seed(1).build()?);
/// let (train, validation) = split_validation(&all, 0.2, 0)?;
/// let history = trainer.fit(&Datasets::new(&train).with_validation(&validation).with_test(&test))?;
/// assert_eq!(history.epochs.len(), 2);
/// # Ok::<(), densenet::Error>(())
/// ```
pub struct Trainer<M> {
    pub(super) vs: VarStore,
    pub(super) model: M,
    pub(super) optimizer: Box<dyn Optimizer>,
    pub(super) loss: Box<dyn Loss>,
    /// The metrics with their states in the current epoch.
    pub(super) metrics: MetricSet,
    pub(super) config: TrainConfig,
    pub(super) callbacks: Vec<Box<dyn Callback>>,
    pub(super) checkpoint_config: Option<CheckpointConfig>,
    /// The open folder of checkpoints, from the first `fit` on.
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) progress: Progress,
    /// The tensors that each step checks, those of the beginning of the last `fit`.
    pub(super) checked: CheckedTensors,
    /// Whether an update has begun and its step has not ended: after an error, variables and metrics may be those of
    /// different steps.
    pub(super) is_updating: bool,
    pub(super) stop: StopHandle,
    outcome: Option<Outcome>,
}

impl<M: Model> Trainer<M> {
    /// Creates a trainer with cross-entropy as its loss, with loss and accuracy as its metrics, and without callbacks.
    ///
    /// A program that trains on a CPU should call [`tune_allocator`](crate::torch::tune_allocator) before: steps are
    /// then up to a fifth faster.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a field outside its range, or a precision that the device does not support.
    pub fn new(vs: VarStore, model: M, optimizer: impl Optimizer + 'static, config: TrainConfig) -> Result<Self> {
        config.check()?;
        config.precision.check(vs.device())?;
        Ok(Trainer {
            checked: CheckedTensors::of(&vs),
            vs,
            model,
            optimizer: Box::new(optimizer),
            loss: Box::new(CrossEntropy),
            metrics: MetricSet::new(),
            config,
            callbacks: Vec::new(),
            checkpoint_config: None,
            checkpoints: None,
            progress: Progress::start(),
            is_updating: false,
            stop: StopHandle::default(),
            outcome: None,
        })
    }

    /// Sets the loss function. A closure from outputs and targets to the mean loss is a loss function too. Default:
    /// softmax cross-entropy of logits `[N, classes]` against class indices `[N]` or probabilities `[N, classes]`.
    #[must_use]
    pub fn with_loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Adds a metric to the loss and the accuracy, which every run has.
    #[must_use]
    pub fn with_metric(mut self, metric: impl Metric) -> Self {
        self.metrics.add(metric);
        self
    }

    /// Adds a callback, after those that were added before.
    #[must_use]
    pub fn with_callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Sets the number of epochs of the run. After a run has finished, the next call of [`fit`](Self::fit) continues it
    /// to this number.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.config.epochs = epochs;
        self
    }

    /// Saves checkpoints during the run, and resumes from one where the configuration says so. The folder is opened by
    /// [`fit`](Self::fit), and belongs to this trainer until it is dropped.
    #[must_use]
    pub fn with_checkpoints(mut self, config: CheckpointConfig) -> Self {
        self.checkpoint_config = Some(config);
        self
    }

    /// Returns a handle that ends the run after its current step.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Returns how the last call of [`fit`](Self::fit) ended; `None` before the first, and after an error.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Returns the model that is trained.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Returns the variables of the model.
    pub fn var_store(&self) -> &VarStore {
        &self.vs
    }

    /// Returns the optimizer of the run.
    pub fn optimizer(&self) -> &dyn Optimizer {
        self.optimizer.as_ref()
    }

    /// Returns variables, model and optimizer, for a second phase of training or a
    /// [`Predictor`](crate::predict::Predictor).
    ///
    /// # Examples
    ///
    /// A second trainer continues with the weights that a first one has trained, under another optimizer:
    ///
    /// ```no_run
    /// use densenet::{AdamWConfig, DenseNet, Result, TrainConfig, Trainer};
    ///
    /// fn second_phase(first: Trainer<DenseNet>) -> Result<Trainer<DenseNet>> {
    ///     let (mut vs, model, _) = first.into_parts();
    ///     vs.unfreeze();
    ///     let optimizer = AdamWConfig::new(1e-4).build(&vs)?;
    ///     Trainer::new(vs, model, optimizer, TrainConfig::new(5))
    /// }
    /// ```
    pub fn into_parts(self) -> (VarStore, M, Box<dyn Optimizer>) {
        (self.vs, self.model, self.optimizer)
    }

    /// Trains for the configured epochs, and evaluates on the validation and the test set after each.
    ///
    /// A trainer has one run. A second call continues it: where it was interrupted or failed, or with more epochs after
    /// [`with_epochs`](Self::with_epochs). It does nothing where the run has ended. A new run is that of a new trainer,
    /// for example from [`into_parts`](Self::into_parts).
    ///
    /// # Errors
    ///
    /// Before the first step:
    /// - data sets that are empty or do not fit each other, the model or the configuration;
    /// - [`Error::Config`](crate::Error::Config) where a callback or the checkpoints monitor a metric that the run does not have;
    /// - [`Error::Checkpoint`](crate::Error::Checkpoint) or [`Error::Io`](crate::Error::Io) where the folder of checkpoints cannot be used;
    /// - [`Error::Checkpoint`](crate::Error::Checkpoint) where all checkpoints are damaged, or where model, data, configuration or anything else
    ///   that the result depends on differs from those of the checkpoint or of the call before.
    ///
    /// Later: values that are not finite, as [`Error::Training`](crate::Error::Training), and the errors of data sets, model, metrics and
    /// callbacks. With checkpoints the state is saved before such an error is returned, unless it is that of a metric or
    /// of the optimizer, in the middle of an update; the next call then continues from the newest checkpoint.
    ///
    /// An early or interrupted end is no error: [`outcome`](Self::outcome) tells them apart.
    pub fn fit(&mut self, datasets: &Datasets) -> Result<History> {
        self.config.check()?;
        self.metrics.check_names()?;
        let data = RunData::check(&self.config, &self.model, self.loss.as_ref(), self.vs.device(), datasets)?;
        if let Some(CheckpointConfig { keep_best: Some((_, monitor)), .. }) = &self.checkpoint_config {
            let has_validation = datasets.validation.is_some();
            monitor.check("keeping the best checkpoints", has_validation, &self.metrics)?;
        }
        // Callbacks read the trainer while they are called.
        let mut callbacks = std::mem::take(&mut self.callbacks);
        let outcome = catch_unwind(AssertUnwindSafe(|| RunLoop::new(self, &data, &mut callbacks).run()));
        self.callbacks = callbacks;
        self.stop.reset();
        self.outcome = None;
        self.outcome = Some(outcome.unwrap_or_else(|panic| resume_unwind(panic))?);
        Ok(self.progress.history.clone())
    }

    /// Computes metrics and predictions on a data set, in evaluation mode. Changes no variable.
    ///
    /// # Errors
    ///
    /// Those of the data set, the model and the metrics.
    pub fn evaluate(&self, dataset: &dyn Dataset) -> Result<Evaluation> {
        self.inference().evaluate_all(self.loss.as_ref(), self.metrics.fresh(), dataset)
    }

    /// Returns the inference for evaluations during the run.
    pub(super) fn inference(&self) -> Inference<'_> {
        Inference::of_run(&self.config, &self.model, &self.vs)
    }

    /// Returns the learning rate of a step.
    pub(super) fn learning_rate(&self, data: &RunData, Place { epoch, step }: Place) -> f64 {
        let done = ((epoch - 1) * data.steps_per_epoch + step.saturating_sub(1)) as u64;
        let (steps_per_epoch, epochs) = (data.steps_per_epoch as u64, self.config.epochs as u64);
        self.config.schedule.learning_rate(self.optimizer.learning_rate(), done, steps_per_epoch, epochs)
    }

    /// Advances the run by a step.
    pub(super) fn end_step(&mut self, samples: usize, duration: Duration) {
        self.progress.end_step(samples, duration);
        self.is_updating = false;
    }
}
