//! The training loop.

use super::callback::{Callback, Event, Flow, Outcome, Run};
use super::checkpoints::{Checkpoints, Moment};
use super::evaluate::Inference;
use super::loss::is_classification;
use super::progress::Progress;
use super::run_data::RunData;
use super::run_state;
use super::{
    CheckpointConfig, CrossEntropy, EpochRecord, Evaluation, History, Loss, StopHandle, TrainConfig, Validation,
};
use crate::data::{Dataset, split_validation};
use crate::metrics::{Scores, correct_predictions};
use crate::models::Model;
use crate::optim::Optimizer;
use crate::torch::tune_allocator;
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;
use tch::Tensor;
use tch::nn::VarStore;

/// Trains a model on one data set and reports on another.
///
/// # Examples
///
/// ```
/// use densenet::data::SyntheticConfig;
/// use densenet::optim::SgdConfig;
/// use densenet::train::{TrainConfig, Trainer};
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
/// let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(2).with_batch_size(16))?;
/// let samples = SyntheticConfig::new(64).with_sample_shape([1, 16, 16]).with_classes(3);
/// let history = trainer.fit(&samples.clone().build()?, &samples.with_seed(1).build()?)?;
/// assert_eq!(history.epochs.len(), 2);
/// # Ok::<(), densenet::Error>(())
/// ```
pub struct Trainer<M> {
    vs: VarStore,
    model: M,
    optimizer: Box<dyn Optimizer>,
    loss: Box<dyn Loss>,
    config: TrainConfig,
    callbacks: Vec<Box<dyn Callback>>,
    checkpoints: Option<Checkpoints>,
    progress: Progress,
    stop: StopHandle,
}

impl<M: Model> Trainer<M> {
    /// A trainer with cross-entropy as its loss and nobody watching. From now on the process
    /// [keeps freed memory and uses large pages](tune_allocator).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Precision`].
    pub fn new(vs: VarStore, model: M, optimizer: impl Optimizer + 'static, config: TrainConfig) -> Result<Self> {
        config.check()?;
        config.precision.check(vs.device())?;
        tune_allocator()?;
        Ok(Trainer {
            vs,
            model,
            optimizer: Box::new(optimizer),
            loss: Box::new(CrossEntropy),
            config,
            callbacks: Vec::new(),
            checkpoints: None,
            progress: Progress::start(),
            stop: StopHandle::default(),
        })
    }

    /// Makes another loss small: [`CrossEntropy`], or a closure from outputs and targets to a mean.
    #[must_use]
    pub fn with_loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Adds somebody who watches.
    pub fn observe(&mut self, callback: impl Callback + 'static) -> &mut Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Saves the state of the run as it goes, so that it can go on after a kill.
    ///
    /// # Errors
    ///
    /// [`Error::CheckpointsExist`] where the folder has some, [`Error::FolderInUse`] where another run has the folder,
    /// [`Error::InvalidConfig`], [`Error::Io`].
    pub fn save_checkpoints(&mut self, config: impl Into<CheckpointConfig>) -> Result<&mut Self> {
        self.checkpoints = Some(Checkpoints::new(config.into())?);
        Ok(self)
    }

    /// Goes on, with the next [`fit`](Self::fit), where the folder's newest whole checkpoint was saved, and saves there too. It
    /// ends with the same bits as a run that was never interrupted. A folder without a checkpoint begins a new run. Returns what was
    /// wrong with newer checkpoints that were passed over.
    ///
    /// # Errors
    ///
    /// Here, [`Error::FolderInUse`], [`Error::Checkpoint`] where all are damaged, [`Error::InvalidConfig`], [`Error::Io`]. In `fit`,
    /// [`Error::ConfigMismatch`] where configuration, optimizer or data differ, [`Error::StateMismatch`] where the model does; nothing has
    /// changed then.
    pub fn resume_from(&mut self, config: impl Into<CheckpointConfig>) -> Result<Vec<Error>> {
        let mut checkpoints = Checkpoints::resuming(config.into())?;
        let passed_over = checkpoints.resumed.as_mut().map(|found| std::mem::take(&mut found.skipped));
        self.checkpoints = Some(checkpoints);
        Ok(passed_over.unwrap_or_default())
    }

    /// A handle that ends the run after its current step.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model's variables.
    pub fn var_store(&self) -> &VarStore {
        &self.vs
    }

    /// Trains for the configured epochs and evaluates after each.
    ///
    /// # Errors
    ///
    /// Before the first step: data sets that are empty or do not fit each other, the model or the configuration. Later:
    /// [`Error::NonFiniteLoss`], and the errors of data sets, model and callbacks.
    pub fn fit(&mut self, train: &dyn Dataset, test: &dyn Dataset) -> Result<History> {
        let split = match self.config.validation {
            Validation::Off => None,
            Validation::HoldOut(size) => Some(split_validation(train, size, self.config.seed)?),
        };
        let (train, validation) = match &split {
            None => (train, None),
            Some((train, validation)) => (train as &dyn Dataset, Some(validation as &dyn Dataset)),
        };
        let data = RunData::check(&self.config, &self.model, train, validation, test)?;
        let mut callbacks = std::mem::take(&mut self.callbacks);
        let outcome = self.begin(&data, &mut callbacks).and_then(|()| self.run(&data, &mut callbacks));
        self.callbacks = callbacks;
        outcome?;
        Ok(self.progress.history.clone())
    }

    /// Loss, accuracy and predictions on a data set, in evaluation mode. Changes no variable.
    ///
    /// # Errors
    ///
    /// Those of the data set and of the model.
    pub fn evaluate(&self, dataset: &dyn Dataset) -> Result<Evaluation> {
        Inference::of_run(&self.config, &self.model, &self.vs).evaluate(self.loss.as_ref(), dataset)
    }

    /// The place from which the run goes on: its start, or where a checkpoint was saved.
    fn begin(&mut self, data: &RunData, callbacks: &mut [Box<dyn Callback>]) -> Result<()> {
        self.progress = Progress::start();
        let mut resumed = None;
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.run = run_state::description(&self.config, self.optimizer.as_ref(), data.train, data.test)?;
            if let Some(found) = checkpoints.resumed.take() {
                let (allowed, optimizer) = (checkpoints.allowed_changes(), self.optimizer.as_mut());
                (self.progress, checkpoints.best) =
                    run_state::restore(found.checkpoint, &checkpoints.run, allowed, callbacks, &self.vs, optimizer)?;
                resumed = Some(Event::Resumed { epoch: self.progress.epoch, step: self.progress.step });
            }
        }
        self.notify(Event::FitStarted, data, callbacks)?;
        resumed.map_or(Ok(()), |event| self.notify(event, data, callbacks).map(drop))
    }

    /// Epoch after epoch until all are done or somebody wants to stop.
    fn run(&mut self, data: &RunData, callbacks: &mut [Box<dyn Callback>]) -> Result<()> {
        let mut outcome = Outcome::Finished;
        while self.progress.epoch <= self.config.epochs {
            let epoch = self.progress.epoch;
            let train = match self.train_epoch(epoch, data, callbacks)? {
                ControlFlow::Continue(scores) => scores,
                ControlFlow::Break(step) => {
                    outcome = Outcome::Stopped { epoch, step, epoch_completed: false };
                    break;
                }
            };
            let mut flow = self.notify(Event::EvaluationStarted { epoch }, data, callbacks)?;
            let started = Instant::now();
            let validation = data.validation.map(|dataset| self.evaluate(dataset)).transpose()?;
            let test = self.evaluate(data.test)?;
            let record = EpochRecord {
                epoch,
                train,
                validation: validation.map(|evaluation| evaluation.scores),
                test: test.scores,
                learning_rate: self.learning_rate(epoch, data.steps_per_epoch, data),
                train_seconds: self.progress.seconds,
                evaluation_seconds: started.elapsed().as_secs_f64(),
            };
            self.progress.history.epochs.push(record.clone());
            flow = flow.and(self.notify(Event::EpochEnded { record: &record, test: &test }, data, callbacks)?);
            self.progress.next_epoch();
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.rank(&record, self.progress.steps(data.steps_per_epoch))?;
            }
            self.save_if_due(Moment::EpochEnded, data, callbacks)?;
            if epoch < self.config.epochs && (flow == Flow::Stop || self.stop.is_stopped()) {
                outcome = Outcome::Stopped { epoch, step: data.steps_per_epoch, epoch_completed: true };
                break;
            }
        }
        self.save_if_due(Moment::RunEnds, data, callbacks)?;
        self.notify(Event::FitEnded { outcome }, data, callbacks)?;
        Ok(())
    }

    /// The rest of the steps of an epoch: its scores, or the step after which somebody wanted to stop.
    fn train_epoch(
        &mut self,
        epoch: usize,
        data: &RunData,
        callbacks: &mut [Box<dyn Callback>],
    ) -> Result<ControlFlow<usize, Scores>> {
        thread::scope(|scope| {
            let mut started = Instant::now();
            let done = self.progress.step;
            let position = data.train.len().min(done * self.config.batch_size);
            let batches = data.loader.batches_from(scope, data.train, epoch as u64 - 1, position)?;
            for (step, batch) in (done + 1..).zip(batches) {
                let (inputs, targets) = self.config.preprocess.tensors(&batch?, self.vs.device())?;
                let samples = targets.size()[0] as usize;
                let learning_rate = self.learning_rate(epoch, step, data);
                let (loss, right) = self.step(&inputs, &targets, learning_rate, epoch, step)?;
                let duration = started.elapsed();
                started = Instant::now();
                self.progress.step = step;
                self.progress.sums.add(loss, samples, right);
                self.progress.seconds += duration.as_secs_f64();
                let flow = self.notify(Event::StepEnded { epoch, step, loss, samples, duration }, data, callbacks)?;
                self.save_if_due(Moment::StepEnded, data, callbacks)?;
                if flow == Flow::Stop || self.stop.is_stopped() {
                    return Ok(ControlFlow::Break(step));
                }
            }
            Ok(ControlFlow::Continue(self.progress.sums.scores().ok_or(Error::EmptyDataset)?))
        })
    }

    fn save_if_due(&mut self, moment: Moment, data: &RunData, callbacks: &mut [Box<dyn Callback>]) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let (steps, epochs) = (self.progress.steps(data.steps_per_epoch), self.progress.history.epochs.len());
        if !checkpoints.is_due(moment, steps, epochs) {
            return Ok(());
        }
        let (run, best, optimizer) = (&checkpoints.run, &checkpoints.best, self.optimizer.as_ref());
        let checkpoint = run_state::checkpoint(run, &self.progress, best, callbacks, &self.vs, optimizer);
        checkpoints.save(steps, &checkpoint)?;
        self.notify(Event::CheckpointSaved { steps }, data, callbacks).map(drop)
    }

    /// One step: forward, loss, backward, update. Returns the mean loss and how many predictions were right.
    fn step(
        &mut self,
        inputs: &Tensor,
        targets: &Tensor,
        learning_rate: f64,
        epoch: usize,
        step: usize,
    ) -> Result<(f64, Option<i64>)> {
        // Whatever the model draws, such as dropout, is a function of the seed and the step.
        tch::manual_seed(step_seed(self.config.seed, epoch, step));
        let ctx = self.config.context(self.config.train_mode());

        self.optimizer.zero_grad()?;
        let outputs = self.model.forward(inputs, &ctx)?;
        let loss = self.loss.mean(&outputs, targets)?;
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(Error::NonFiniteLoss { loss: value, epoch, step });
        }
        loss.f_backward().map_err(|error| Error::Libtorch { what: "backward pass", message: error.to_string() })?;
        self.optimizer.step(learning_rate)?;

        let right = is_classification(&outputs, targets).then(|| correct_predictions(&outputs, targets));
        Ok((value, right))
    }

    fn learning_rate(&self, epoch: usize, step: usize, data: &RunData) -> f64 {
        let total = (self.config.epochs * data.steps_per_epoch) as u64;
        let done = ((epoch - 1) * data.steps_per_epoch + step - 1) as u64;
        self.config.schedule.rate(self.optimizer.learning_rate(), done, total)
    }

    fn notify(&self, event: Event, data: &RunData, callbacks: &mut [Box<dyn Callback>]) -> Result<Flow> {
        let run = Run {
            id: &self.progress.run_id,
            config: &self.config,
            history: &self.progress.history,
            model: &self.model,
            vs: &self.vs,
            train: data.train,
            test: data.test,
            steps_per_epoch: data.steps_per_epoch,
            learning_rate: self.optimizer.learning_rate(),
            loss: self.loss.as_ref(),
        };
        callbacks.iter_mut().try_fold(Flow::Continue, |flow, callback| Ok(flow.and(callback.on_event(&event, &run)?)))
    }
}

/// The seed of a step's random draws. Odd multipliers keep different steps apart.
fn step_seed(seed: u64, epoch: usize, step: usize) -> i64 {
    let position = ((epoch as u64) << 32) | step as u64;
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ position.wrapping_mul(0xD1B5_4A32_D192_ED03)) as i64
}
