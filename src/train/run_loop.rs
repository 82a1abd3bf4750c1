//! The training loop: epochs, steps, evaluations, checkpoints, and the events of all of them.

use super::callback::{Callback, Event, Outcome, Run};
use super::checkpoints::SaveTrigger;
use super::progress::{End, Place};
use super::run_data::RunData;
use super::run_state::RunState;
use super::steps::{StepBatch, UnreadSteps};
use super::{EpochRecord, Evaluation, Trainer};
use crate::data::{Batch, Dataset, SkippedSample};
use crate::error::TrainingError;
use crate::metrics::Metrics;
use crate::models::Model;
use crate::{Error, Result};
use std::thread;
use std::time::{Duration, Instant};

/// Number of samples of an epoch that are warned of where they are skipped.
const WARNINGS: usize = 10;

/// One call of [`Trainer::fit`].
pub(super) struct RunLoop<'a, M> {
    pub trainer: &'a mut Trainer<M>,
    pub data: &'a RunData<'a>,
    pub callbacks: &'a mut [Box<dyn Callback>],
    /// The steps whose results are not read yet.
    pub unread: UnreadSteps,
    /// Whether each callback has failed, and is not called any more.
    has_failed: Vec<bool>,
    /// The name of the callback that ends the run.
    ended_by: Option<String>,
}

impl<'a, M: Model> RunLoop<'a, M> {
    /// Creates a run before its first step.
    pub fn new(trainer: &'a mut Trainer<M>, data: &'a RunData<'a>, callbacks: &'a mut [Box<dyn Callback>]) -> Self {
        let has_failed = vec![false; callbacks.len()];
        RunLoop { trainer, data, callbacks, unread: UnreadSteps::default(), has_failed, ended_by: None }
    }

    /// Trains until the run ends or is interrupted. Its state is saved then, and after an error too.
    pub fn run(&mut self) -> Result<Outcome> {
        self.begin()?;
        let outcome = self.train();
        if let Err(error) = &outcome {
            self.fail(error);
        }
        let outcome = outcome?;
        self.notify(Event::FitEnded { outcome })?;
        Ok(outcome)
    }

    fn train(&mut self) -> Result<Outcome> {
        loop {
            if let Some(outcome) = self.outcome() {
                self.save_if_due(SaveTrigger::Always)?;
                return Ok(outcome);
            }
            match self.trainer.progress.is_evaluating {
                false => self.train_epoch()?,
                true => self.evaluate_epoch()?,
            }
        }
    }

    /// Runs the remaining steps of an epoch, until its last one or an end of the run.
    fn train_epoch(&mut self) -> Result<()> {
        let data = self.data;
        thread::scope(|scope| {
            let progress = &self.trainer.progress;
            let (epoch, position) = (progress.epoch as u64 - 1, progress.samples);
            let stop = self.trainer.stop.clone();
            let is_stopped = move || stop.is_stopped();
            let mut started = Instant::now();
            let samples = data.samples.dataset(data.datasets.train);
            for batch in data.loader.batches_until(scope, samples, epoch, position, is_stopped)? {
                match batch.and_then(|batch| self.samples(&batch, started)) {
                    Ok(batch) => self.train_batch(batch)?,
                    Err(error) => return self.finish_steps().and(Err(error)),
                }
                if self.is_ending() {
                    break;
                }
                started = Instant::now();
            }
            self.finish_steps()?;
            let progress = &mut self.trainer.progress;
            progress.is_evaluating = !data.has_batch_after(progress.samples);
            // Not only after the scope, which waits for a worker whose sample may never come.
            match self.outcome() {
                Some(_) => self.save_if_due(SaveTrigger::Always),
                None => Ok(()),
            }
        })
    }

    /// Copies a batch to the device, and mixes its samples. Its step began with the wait for it.
    fn samples(&self, batch: &Batch, started: Instant) -> Result<StepBatch> {
        let trainer = &*self.trainer;
        let config = &trainer.config;
        let tensors = self.data.samples.tensors(batch, &config.preprocess, trainer.vs.device())?;
        let Place { epoch, step } = trainer.progress.next_place(self.unread.steps.len());
        let stream = ((epoch as u64) << 32) | step as u64;
        let (inputs, targets) = config.mixing.apply(tensors, self.data.outputs, config.seed, stream)?;
        Ok(StepBatch { inputs, targets, samples: batch.len(), skipped: self.data.samples.skipped(batch), started })
    }

    /// Runs one step, and reads its results.
    pub fn train_step(&mut self, batch: &StepBatch) -> Result<()> {
        let trainer = &mut *self.trainer;
        let place = trainer.progress.next_place(0);
        let learning_rate = trainer.learning_rate(self.data, place);
        let loss = trainer.step(&batch.inputs, &batch.targets, learning_rate, place);
        match loss {
            Ok(loss) => {
                trainer.end_step(batch.samples, batch.started.elapsed());
                self.count_skipped(&batch.skipped)?;
                self.step_ended(place, loss, batch, learning_rate)?;
            }
            Err(error) if error.is_non_finite() && trainer.config.skip_non_finite => {
                trainer.progress.skipped_steps += 1;
                trainer.end_step(batch.samples, batch.started.elapsed());
                self.count_skipped(&batch.skipped)?;
                let Place { epoch, step } = place;
                self.notify(Event::StepSkipped { epoch, step, error: &error })?;
            }
            Err(error) => return Err(error),
        }
        self.save_if_due(SaveTrigger::StepEnded)
    }

    /// Tells the callbacks of a step whose loss is finite.
    pub fn step_ended(&mut self, place: Place, loss: f64, batch: &StepBatch, learning_rate: f64) -> Result<()> {
        if let Some(checkpoints) = &mut self.trainer.checkpoints {
            checkpoints.confirm();
        }
        let (Place { epoch, step }, samples, duration) = (place, batch.samples, batch.started.elapsed());
        self.notify(Event::StepEnded { epoch, step, loss, samples, learning_rate, duration })
    }

    /// Counts samples that could not be read, and warns of the first of an epoch.
    pub fn count_skipped(&mut self, skipped: &[SkippedSample]) -> Result<()> {
        for SkippedSample { index, problem } in skipped {
            let progress = &mut self.trainer.progress;
            progress.skipped_samples += 1;
            let message = match progress.skipped_samples {
                count if count <= WARNINGS => {
                    format!("sample {index} is skipped, and another takes its place: {problem}")
                }
                count if count == WARNINGS + 1 => {
                    "further samples that are skipped in this epoch are only counted".to_owned()
                }
                _ => continue,
            };
            self.notify(Event::Warning { message: &message })?;
        }
        Ok(())
    }

    /// Evaluates after the steps of an epoch, and advances to the next epoch, unless the run is interrupted before.
    fn evaluate_epoch(&mut self) -> Result<()> {
        let (data, epoch) = (self.data, self.trainer.progress.epoch);
        let no_step = Error::Training(TrainingError::NoFiniteStep { epoch });
        let train = self.trainer.metrics.compute().ok_or(no_step)?;
        let is_evaluated = data.datasets.evaluated().next().is_some();
        // A sample that cannot be read would lose the epoch, and results are never there without a checkpoint.
        self.save_if_due(SaveTrigger::Always)?;
        self.notify(Event::EvaluationStarted { epoch })?;
        let started = Instant::now();
        let Some(validation) = self.evaluate(data.datasets.validation)? else { return Ok(()) };
        let Some(test) = self.evaluate(data.datasets.test)? else { return Ok(()) };
        for evaluation in validation.iter().chain(&test) {
            self.count_skipped(&evaluation.skipped)?;
        }
        let record = self.record(train, validation.as_ref(), test.as_ref(), started.elapsed());

        let trainer = &mut *self.trainer;
        trainer.progress.history.epochs.push(record.clone());
        trainer.progress.end_epoch();
        trainer.metrics = trainer.metrics.fresh();
        let mut is_best = false;
        if let Some(checkpoints) = &mut trainer.checkpoints {
            if is_evaluated {
                checkpoints.confirm();
            }
            is_best = checkpoints.rank(&record)?;
        }
        let (validation, test) = (validation.as_ref(), test.as_ref());
        self.notify(Event::EpochEnded { record: &record, validation, test })?;
        // An end is part of the state that is saved.
        self.outcome();
        self.save_if_due(SaveTrigger::EpochEnded { is_best })
    }

    /// Evaluates a data set, if there is one; returns `None` where the run is interrupted.
    fn evaluate(&self, dataset: Option<&dyn Dataset>) -> Result<Option<Option<Evaluation>>> {
        let Some(dataset) = dataset else { return Ok(Some(None)) };
        let trainer = &*self.trainer;
        let evaluation =
            trainer
                .inference()
                .evaluate(trainer.loss.as_ref(), trainer.metrics.fresh(), dataset, &|| trainer.stop.is_stopped())?;
        Ok(evaluation.map(Some))
    }

    fn record(
        &self,
        train: Metrics,
        validation: Option<&Evaluation>,
        test: Option<&Evaluation>,
        evaluation: Duration,
    ) -> EpochRecord {
        let progress = &self.trainer.progress;
        let last = Place { epoch: progress.epoch, step: progress.step };
        EpochRecord {
            epoch: progress.epoch,
            train,
            validation: validation.map(|evaluation| evaluation.metrics.clone()),
            test: test.map(|evaluation| evaluation.metrics.clone()),
            learning_rate: self.trainer.learning_rate(self.data, last),
            train_seconds: progress.seconds,
            evaluation_seconds: evaluation.as_secs_f64(),
            skipped_steps: progress.skipped_steps,
            skipped_samples: progress.skipped_samples,
        }
    }

    /// Whether the run is to end after the current step.
    fn is_ending(&self) -> bool {
        self.ended_by.is_some() || self.trainer.stop.is_stopped()
    }

    /// Returns how the run ends, where it ends here. An end that is not an interruption becomes part of its state.
    fn outcome(&mut self) -> Option<Outcome> {
        let trainer = &mut *self.trainer;
        if trainer.progress.end.is_none() {
            let epochs = trainer.config.epochs;
            if trainer.progress.epoch > epochs || self.ended_by.is_some() {
                let callback = self.ended_by.take().filter(|_| trainer.progress.epoch <= epochs);
                trainer.progress.end = Some(End::new(callback, epochs, self.callbacks));
            }
        }
        match &trainer.progress.end {
            Some(End { callback: None, .. }) => Some(Outcome::Finished),
            Some(_) => Some(Outcome::EndedEarly),
            None => trainer.stop.is_stopped().then_some(Outcome::Interrupted),
        }
    }

    /// Saves the state after an error, where it is undamaged, and tells the callbacks.
    fn fail(&mut self, error: &Error) {
        use TrainingError::{NoFiniteStep, NonFiniteEvaluation, NonFiniteLoss};
        let has_diverged =
            matches!(error, Error::Training(NonFiniteLoss { .. } | NonFiniteEvaluation { .. } | NoFiniteStep { .. }));
        let saved = match &mut self.trainer.checkpoints {
            // The variables that led to this loss are in the newest checkpoints too.
            Some(checkpoints) if has_diverged => checkpoints.set_diverged_aside(),
            _ if self.trainer.is_updating => Ok(()),
            _ => self.save_if_due(SaveTrigger::Always),
        };
        // The first error is the one that `fit` returns.
        if let Err(error) = saved {
            let message = format!("the state after the error could not be saved: {}", error.with_causes());
            let _ = self.notify(Event::Warning { message: &message });
        }
        let _ = self.notify(Event::FitFailed { error });
    }

    pub fn save_if_due(&mut self, trigger: SaveTrigger) -> Result<()> {
        let trainer = &mut *self.trainer;
        let Some(checkpoints) = &mut trainer.checkpoints else { return Ok(()) };
        if !checkpoints.is_due(trigger, &trainer.progress) {
            return Ok(());
        }
        let (vs, optimizer, metrics) = (&trainer.vs, trainer.optimizer.as_mut(), &mut trainer.metrics);
        let state = RunState { vs, optimizer, metrics, callbacks: self.callbacks };
        let checkpoint = state.checkpoint(&checkpoints.run, &trainer.progress, &checkpoints.ranking)?;
        checkpoints.save(&trainer.progress, &checkpoint)?;
        self.notify(Event::CheckpointSaved { steps: self.trainer.progress.steps })
    }

    /// Calls all callbacks, and records whether one of them ends the run. An error of an essential one is returned after
    /// all were called, so that their states agree.
    pub fn notify(&mut self, event: Event) -> Result<()> {
        let run = view(self.trainer, self.data);
        let (mut warnings, mut outcome) = (Vec::new(), Ok(()));
        for (callback, has_failed) in self.callbacks.iter_mut().zip(&mut self.has_failed) {
            if *has_failed {
                continue;
            }
            match callback.on_event(&event, &run) {
                Ok(flow) if flow.is_break() => self.ended_by = Some(callback.name()),
                Ok(_) => {}
                Err(error) if callback.is_essential() => outcome = outcome.and(Err(error)),
                Err(error) => {
                    *has_failed = true;
                    let name = callback.name();
                    warnings.push(format!("{name} fails and is not called again: {}", error.with_causes()));
                }
            }
        }
        outcome?;
        warnings.iter().try_for_each(|message| self.notify(Event::Warning { message }))
    }
}

/// Returns the read access that callbacks have.
fn view<'a, M: Model>(trainer: &'a Trainer<M>, data: &'a RunData<'a>) -> Run<'a> {
    Run {
        id: &trainer.progress.run_id,
        epoch: trainer.progress.epoch,
        step: trainer.progress.step,
        config: &trainer.config,
        history: &trainer.progress.history,
        model: &trainer.model,
        vs: &trainer.vs,
        datasets: data.datasets,
        steps_per_epoch: data.steps_per_epoch,
        base_learning_rate: trainer.optimizer.learning_rate(),
        loss: trainer.loss.as_ref(),
        metrics: &trainer.metrics,
    }
}
