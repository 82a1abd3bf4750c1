//! The trainer: the parts of a run, and one step of it.

use super::callback::Callback;
use super::checkpoints::Checkpoints;
use super::evaluate::Inference;
use super::loss::{BatchLoss, CrossEntropy, checked_loss};
use super::progress::Progress;
use super::run_data::RunData;
use super::run_loop::RunLoop;
use super::{CheckpointConfig, Datasets, Evaluation, History, Loss, StopHandle, TrainConfig};
use crate::data::Dataset;
use crate::error::TrainingError;
use crate::metrics::{BatchOutput, Metric, MetricSet};
use crate::models::Model;
use crate::optim::Optimizer;
use crate::{Error, Result};
use tch::Tensor;
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
    pub(super) stop: StopHandle,
}

impl<M: Model> Trainer<M> {
    /// Creates a trainer with cross-entropy as its loss, with loss and accuracy as its metrics, and without callbacks.
    ///
    /// A program that trains on a CPU should call [`tune_allocator`](crate::torch::tune_allocator) before: steps are
    /// then up to a fifth faster.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a field outside its range, or a precision that the device does not support.
    pub fn new(vs: VarStore, model: M, optimizer: impl Optimizer + 'static, config: TrainConfig) -> Result<Self> {
        config.check()?;
        config.precision.check(vs.device())?;
        Ok(Trainer {
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
            stop: StopHandle::default(),
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
    /// # Errors
    ///
    /// Before the first step:
    /// - data sets that are empty or do not fit each other, the model or the configuration;
    /// - [`Error::Config`] where a callback or the checkpoints monitor a metric that the run does not have;
    /// - [`Error::Checkpoint`] or [`Error::Io`] where the folder of checkpoints cannot be used;
    /// - [`Error::Checkpoint`] where all checkpoints are damaged, or where configuration, optimizer, model
    ///   or data differ from those of the checkpoint.
    ///
    /// Later: [`TrainingError::NonFiniteLoss`], and the errors of data sets, model, metrics and callbacks.
    pub fn fit(&mut self, datasets: &Datasets) -> Result<History> {
        let data = RunData::check(&self.config, &self.model, datasets)?;
        self.metrics.check_names()?;
        if let Some(CheckpointConfig { keep_best: Some((_, monitor)), .. }) = &self.checkpoint_config {
            let has_validation = datasets.validation.is_some();
            monitor.check("keeping the best checkpoints", has_validation, &self.metrics)?;
        }
        // Callbacks read the trainer while they are called.
        let mut callbacks = std::mem::take(&mut self.callbacks);
        let outcome = RunLoop::new(self, &data, &mut callbacks).run();
        self.callbacks = callbacks;
        outcome?;
        Ok(self.progress.history.clone())
    }

    /// Computes metrics and predictions on a data set, in evaluation mode. Changes no variable.
    ///
    /// # Errors
    ///
    /// Those of the data set, the model and the metrics.
    pub fn evaluate(&self, dataset: &dyn Dataset) -> Result<Evaluation> {
        let inference = Inference::of_run(&self.config, &self.model, &self.vs);
        inference.evaluate(self.loss.as_ref(), self.metrics.fresh(), dataset)
    }

    /// Runs one step: forward pass, loss, backward pass, update, metrics. Returns the mean loss.
    pub(super) fn step(
        &mut self,
        inputs: &Tensor,
        targets: &Tensor,
        learning_rate: f64,
        epoch: usize,
        step: usize,
    ) -> Result<f64> {
        // Every random number of the model, such as those of dropout, is a function of the seed and the step.
        let ctx = self.config.context(self.config.mode).with_seed(step_seed(self.config.seed, epoch, step));

        self.optimizer.zero_grad()?;
        let outputs = self.model.forward(inputs, &ctx)?;
        let BatchLoss { mean, weight } = checked_loss(self.loss.as_ref(), &outputs, targets)?;
        let value = mean.double_value(&[]);
        if !value.is_finite() {
            return Err(Error::Training(TrainingError::NonFiniteLoss { loss: value, epoch, step }));
        }
        mean.f_backward().map_err(Error::libtorch("backward pass"))?;
        self.optimizer.step(learning_rate)?;
        self.metrics.update(&BatchOutput::new(&outputs, targets, value, weight))?;
        Ok(value)
    }
}

/// Returns the seed of a step's random numbers. Odd multipliers give different steps different seeds.
fn step_seed(seed: u64, epoch: usize, step: usize) -> u64 {
    let position = ((epoch as u64) << 32) | step as u64;
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ position.wrapping_mul(0xD1B5_4A32_D192_ED03)
}
