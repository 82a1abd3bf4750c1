//! The steps of an epoch: one by one, or several of which the host reads the results together.

use super::checkpoints::SaveTrigger;
use super::progress::Place;
use super::run_loop::RunLoop;
use super::step::Unread;
use crate::metrics::BatchOutput;
use crate::models::Model;
use crate::torch::Buffers;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;
use tch::{Kind, Tensor};

/// A batch on the device.
pub(super) struct StepBatch {
    pub inputs: Tensor,
    pub targets: Tensor,
    pub samples: usize,
    /// The beginning of its step: of the wait for the batch.
    pub started: Instant,
}

/// The steps of an epoch, some of which may not be read yet.
///
/// Before the first of these, all variables and the state of the optimizer are saved. If something in them is not finite
/// or fails, that state is restored and the same steps run again one by one: they then check, skip and fail as they do
/// without an interval.
pub(super) struct Steps {
    interval: usize,
    unread: Vec<UnreadStep>,
    /// The state before the first of them.
    before: Option<Buffers>,
    /// 1 where a value in them is not finite, `[1]` on the device.
    found: Tensor,
}

struct UnreadStep {
    batch: StepBatch,
    place: Place,
    learning_rate: f64,
    results: Unread,
}

impl Steps {
    pub fn new(interval: usize) -> Self {
        Steps { interval, unread: Vec::new(), before: None, found: Tensor::new() }
    }

    /// Trains on a batch.
    pub fn train<M: Model>(&mut self, run: &mut RunLoop<M>, batch: StepBatch) -> Result<()> {
        if self.interval == 1 {
            return run.train_step(&batch);
        }
        if self.unread.is_empty() {
            self.save(run)?;
        }
        let trainer = &mut *run.trainer;
        let place = trainer.progress.next_place(self.unread.len());
        let learning_rate = trainer.learning_rate(run.data, place);
        trainer.is_updating = true;
        let found = &mut self.found;
        let results = catch_unwind(AssertUnwindSafe(|| {
            trainer.step_unread(&batch.inputs, &batch.targets, learning_rate, place, found)
        }));
        match results {
            Ok(Ok(results)) => self.unread.push(UnreadStep { batch, place, learning_rate, results }),
            Ok(Err(_)) => return self.repeat(run, Some(batch)),
            Err(panic) => {
                self.restore(run)?;
                resume_unwind(panic);
            }
        }
        let steps = run.trainer.progress.steps + self.unread.len() as u64;
        let is_due = run.trainer.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due_after(steps));
        if self.unread.len() == self.interval || is_due { self.finish(run) } else { Ok(()) }
    }

    /// Reads the results of all steps, updates the metrics, and tells the callbacks.
    pub fn finish<M: Model>(&mut self, run: &mut RunLoop<M>) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let Some(losses) = self.losses()? else { return self.repeat(run, None) };
        for (step, loss) in self.unread.drain(..).zip(losses) {
            let UnreadStep { batch, place, learning_rate, results } = step;
            let output = BatchOutput::new(&results.outputs, &batch.targets, loss, results.weight);
            run.trainer.metrics.update(&output)?;
            run.trainer.progress.end_step(batch.samples, batch.started.elapsed());
            // Until the last of them the variables are ahead of the position.
            run.step_ended(place, loss, &batch, learning_rate)?;
        }
        run.trainer.is_updating = false;
        run.save_if_due(SaveTrigger::StepEnded)
    }

    /// Waits for the losses; returns `None` where a value is not finite.
    fn losses(&self) -> Result<Option<Vec<f64>>> {
        let means = self.unread.iter().map(|step| step.results.mean.to_kind(Kind::Double).view([1]));
        let all: Vec<Tensor> = means.chain([self.found.to_kind(Kind::Double)]).collect();
        let all = Tensor::f_cat(&all, 0).and_then(Vec::<f64>::try_from).map_err(Error::libtorch("losses"))?;
        let (found, losses) = all.split_last().expect("there is one more than losses");
        Ok((*found == 0.0 && losses.iter().all(|loss| loss.is_finite())).then(|| losses.to_vec()))
    }

    /// Saves the state before the first step.
    fn save<M: Model>(&mut self, run: &mut RunLoop<M>) -> Result<()> {
        let trainer = &mut *run.trainer;
        self.found = Tensor::zeros([1], (Kind::Float, trainer.vs.device()));
        match &mut self.before {
            Some(before) => before.save(),
            None => {
                let state = trainer.optimizer.state().into_iter().map(|(_, tensor)| tensor);
                self.before = Some(Buffers::new(trainer.vs.variables().into_values().chain(state).collect()));
                Ok(())
            }
        }
    }

    /// Restores the state before the first step.
    fn restore<M: Model>(&mut self, run: &mut RunLoop<M>) -> Result<()> {
        self.before.as_mut().map_or(Ok(()), Buffers::restore)?;
        run.trainer.is_updating = false;
        Ok(())
    }

    /// Runs the steps again one by one, and then that of a further batch.
    fn repeat<M: Model>(&mut self, run: &mut RunLoop<M>, further: Option<StepBatch>) -> Result<()> {
        self.restore(run)?;
        let steps: Vec<_> = self.unread.drain(..).map(|step| step.batch).chain(further).collect();
        steps.iter().try_for_each(|batch| run.train_step(batch))
    }
}
