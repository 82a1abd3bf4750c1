//! The training loop: epochs, steps, evaluations, checkpoints, and the events of all of them.

use super::callback::{Callback, Event, Outcome, Run};
use super::checkpoints::{Checkpoints, SaveTrigger};
use super::progress::Progress;
use super::run_data::RunData;
use super::run_state::{self, RunState};
use super::{EpochRecord, Trainer};
use crate::error::DataError;
use crate::metrics::Metrics;
use crate::models::Model;
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;

/// One call of [`Trainer::fit`].
pub(super) struct RunLoop<'a, M> {
    trainer: &'a mut Trainer<M>,
    data: &'a RunData<'a>,
    callbacks: &'a mut [Box<dyn Callback>],
    /// Whether a callback ended the run.
    is_broken: bool,
}

impl<'a, M: Model> RunLoop<'a, M> {
    /// Creates a run before its first step.
    pub fn new(trainer: &'a mut Trainer<M>, data: &'a RunData<'a>, callbacks: &'a mut [Box<dyn Callback>]) -> Self {
        RunLoop { trainer, data, callbacks, is_broken: false }
    }

    /// Trains until all epochs are finished or the run is stopped.
    pub fn run(&mut self) -> Result<()> {
        self.begin()?;
        let mut outcome = Outcome::Finished;
        while self.trainer.progress.epoch <= self.trainer.config.epochs {
            let epoch = self.trainer.progress.epoch;
            let train = match self.train_epoch(epoch)? {
                ControlFlow::Continue(metrics) => metrics,
                ControlFlow::Break(step) => {
                    outcome = Outcome::Stopped { epoch, step, epoch_completed: false };
                    break;
                }
            };
            self.end_epoch(epoch, train)?;
            if epoch < self.trainer.config.epochs && self.is_to_stop() {
                outcome = Outcome::Stopped { epoch, step: self.data.steps_per_epoch, epoch_completed: true };
                break;
            }
        }
        self.save_if_due(SaveTrigger::RunEnds)?;
        self.notify(Event::FitEnded { outcome })
    }

    /// Takes the position from which the run continues: its start, or that of a checkpoint.
    fn begin(&mut self) -> Result<()> {
        let trainer = &mut *self.trainer;
        trainer.progress = Progress::start();
        trainer.metrics = trainer.metrics.fresh();
        let (mut checkpoints, loaded) = match (trainer.checkpoints.take(), &trainer.checkpoint_config) {
            (None, Some(config)) => Checkpoints::open(config).map(|(opened, loaded)| (Some(opened), loaded))?,
            (opened, _) => (opened, None),
        };
        let mut resumed = None;
        if let Some(checkpoints) = &mut checkpoints {
            let (optimizer, datasets) = (trainer.optimizer.as_mut(), &self.data.datasets);
            checkpoints.run = run_state::description(&trainer.config, optimizer, &trainer.metrics, datasets)?;
            if let Some(loaded) = loaded {
                let allowed = checkpoints.allowed_changes();
                let (vs, metrics, callbacks) = (&trainer.vs, &mut trainer.metrics, &mut *self.callbacks);
                let mut state = RunState { vs, optimizer, metrics, callbacks };
                (trainer.progress, checkpoints.best) = state.restore(loaded.checkpoint, &checkpoints.run, &allowed)?;
                resumed = Some(loaded.skipped);
            }
        }
        trainer.checkpoints = checkpoints;

        self.notify(Event::FitStarted)?;
        if let Some(skipped) = &resumed {
            let Progress { epoch, step, .. } = self.trainer.progress;
            self.notify(Event::Resumed { epoch, step, skipped })?;
        }
        if let Some(message) = &self.data.warning {
            self.notify(Event::Warning { message })?;
        }
        Ok(())
    }

    /// Runs the remaining steps of an epoch. Returns the epoch's metrics, or the step after which the run was stopped.
    fn train_epoch(&mut self, epoch: usize) -> Result<ControlFlow<usize, Metrics>> {
        let data = self.data;
        thread::scope(|scope| {
            let mut started = Instant::now();
            let done = self.trainer.progress.step;
            let position = data.datasets.train.len().min(done * self.trainer.config.batch_size);
            let batches = data.loader.batches_from(scope, data.datasets.train, epoch as u64 - 1, position)?;
            for (step, batch) in (done + 1..).zip(batches) {
                let trainer = &mut *self.trainer;
                let (inputs, targets) = trainer.config.preprocess.tensors(&batch?, trainer.vs.device())?;
                let learning_rate = learning_rate(trainer, data, epoch, step);
                let loss = trainer.step(&inputs, &targets, learning_rate, epoch, step)?;
                let duration = started.elapsed();
                started = Instant::now();
                trainer.progress.step = step;
                trainer.progress.seconds += duration.as_secs_f64();
                let samples = targets.size()[0] as usize;
                self.notify(Event::StepEnded { epoch, step, loss, samples, learning_rate, duration })?;
                self.save_if_due(SaveTrigger::StepEnded)?;
                if self.is_to_stop() {
                    return Ok(ControlFlow::Break(step));
                }
            }
            Ok(ControlFlow::Continue(self.trainer.metrics.compute().ok_or(Error::Data(DataError::EmptyDataset))?))
        })
    }

    /// Evaluates after the steps of an epoch, and advances to the next epoch.
    fn end_epoch(&mut self, epoch: usize, train: Metrics) -> Result<()> {
        self.notify(Event::EvaluationStarted { epoch })?;
        let (data, started) = (self.data, Instant::now());
        let evaluate = |dataset| self.trainer.evaluate(dataset);
        let validation = data.datasets.validation.map(evaluate).transpose()?;
        let test = data.datasets.test.map(evaluate).transpose()?;
        let record = EpochRecord {
            epoch,
            train,
            validation: validation.as_ref().map(|evaluation| evaluation.metrics.clone()),
            test: test.as_ref().map(|evaluation| evaluation.metrics.clone()),
            learning_rate: learning_rate(self.trainer, data, epoch, data.steps_per_epoch),
            train_seconds: self.trainer.progress.seconds,
            evaluation_seconds: started.elapsed().as_secs_f64(),
        };
        self.trainer.progress.history.epochs.push(record.clone());
        let (validation, test) = (validation.as_ref(), test.as_ref());
        self.notify(Event::EpochEnded { record: &record, validation, test })?;

        let trainer = &mut *self.trainer;
        trainer.progress.next_epoch();
        trainer.metrics = trainer.metrics.fresh();
        if let Some(checkpoints) = &mut trainer.checkpoints {
            checkpoints.rank(&record, trainer.progress.steps(data.steps_per_epoch))?;
        }
        self.save_if_due(SaveTrigger::EpochEnded)
    }

    fn save_if_due(&mut self, trigger: SaveTrigger) -> Result<()> {
        let trainer = &mut *self.trainer;
        let Some(checkpoints) = &mut trainer.checkpoints else { return Ok(()) };
        let progress = &trainer.progress;
        let (steps, epochs) = (progress.steps(self.data.steps_per_epoch), progress.history.epochs.len());
        if !checkpoints.is_due(trigger, steps, epochs) {
            return Ok(());
        }
        let (vs, optimizer, metrics) = (&trainer.vs, trainer.optimizer.as_mut(), &mut trainer.metrics);
        let state = RunState { vs, optimizer, metrics, callbacks: self.callbacks };
        let checkpoint = state.checkpoint(&checkpoints.run, progress, &checkpoints.best)?;
        checkpoints.save(steps, &checkpoint)?;
        self.notify(Event::CheckpointSaved { steps })
    }

    /// Whether the run is to end before its last epoch.
    fn is_to_stop(&self) -> bool {
        self.is_broken || self.trainer.stop.is_stopped()
    }

    /// Calls all callbacks, and records whether one of them ends the run.
    fn notify(&mut self, event: Event) -> Result<()> {
        let trainer = &*self.trainer;
        let run = Run {
            id: &trainer.progress.run_id,
            config: &trainer.config,
            history: &trainer.progress.history,
            model: &trainer.model,
            vs: &trainer.vs,
            datasets: self.data.datasets,
            steps_per_epoch: self.data.steps_per_epoch,
            base_learning_rate: trainer.optimizer.learning_rate(),
            loss: trainer.loss.as_ref(),
            metrics: &trainer.metrics,
        };
        for callback in self.callbacks.iter_mut() {
            self.is_broken |= callback.on_event(&event, &run)?.is_break();
        }
        Ok(())
    }
}

/// Returns the learning rate of a step.
fn learning_rate<M: Model>(trainer: &Trainer<M>, data: &RunData, epoch: usize, step: usize) -> f64 {
    let done = ((epoch - 1) * data.steps_per_epoch + step - 1) as u64;
    let (steps_per_epoch, epochs) = (data.steps_per_epoch as u64, trainer.config.epochs as u64);
    trainer.config.schedule.learning_rate(trainer.optimizer.learning_rate(), done, steps_per_epoch, epochs)
}
