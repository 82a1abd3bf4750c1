//! Training in intervals: several steps run before the host waits for their results.
//!
//! If something in them fails or is not finite, the state before the first of them is restored, and the same steps run
//! again one by one: they then check, skip and fail as they do without an interval.

use super::checkpoints::SaveTrigger;
use super::run_loop::RunLoop;
use super::steps::StepBatch;
use crate::Result;
use crate::metrics::BatchOutput;
use crate::models::Model;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl<M: Model> RunLoop<'_, M> {
    /// Trains on a batch. With an interval its results are read later.
    pub(super) fn train_batch(&mut self, batch: StepBatch) -> Result<()> {
        if self.trainer.config.sync_interval == 1 {
            return self.train_step(&batch);
        }
        let trainer = &mut *self.trainer;
        if self.unread.steps.is_empty() {
            self.unread.begin(&trainer.vs, trainer.optimizer.as_ref())?;
        }
        let place = trainer.progress.next_place(self.unread.steps.len());
        let learning_rate = trainer.learning_rate(self.data, place);
        // The variables are ahead of the position from now on.
        trainer.is_updating = true;
        let found = self.unread.found.as_mut().expect("there is one since the first step");
        let step = || trainer.step_unread(&batch.inputs, &batch.targets, learning_rate, place, found);
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(results)) => self.unread.steps.push((batch, results)),
            Ok(Err(_)) => return self.repeat_steps(Some(batch)),
            Err(panic) => {
                self.undo_steps()?;
                resume_unwind(panic);
            }
        }
        let (trainer, steps) = (&*self.trainer, self.unread.steps.len());
        let position = trainer.progress.steps + steps as u64;
        let is_due = trainer.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due_after(position));
        if steps == trainer.config.sync_interval || is_due { self.finish_steps() } else { Ok(()) }
    }

    /// Reads the results of all steps, updates the metrics, and tells the callbacks.
    pub(super) fn finish_steps(&mut self) -> Result<()> {
        if self.unread.steps.is_empty() {
            return Ok(());
        }
        let Some(losses) = self.unread.losses()? else { return self.repeat_steps(None) };
        for ((batch, results), loss) in std::mem::take(&mut self.unread.steps).into_iter().zip(losses) {
            let trainer = &mut *self.trainer;
            let place = trainer.progress.next_place(0);
            let learning_rate = trainer.learning_rate(self.data, place);
            let output = BatchOutput::new(&results.outputs, &batch.targets, loss, results.weight);
            trainer.metrics.update(&output.with_mixing(!trainer.config.mixing.is_none()))?;
            trainer.progress.end_step(batch.samples, batch.started.elapsed());
            self.count_skipped(&batch.skipped)?;
            self.step_ended(place, loss, &batch, learning_rate)?;
        }
        self.trainer.is_updating = false;
        self.save_if_due(SaveTrigger::StepEnded)
    }

    /// Runs the steps again one by one, and then that of a further batch.
    fn repeat_steps(&mut self, further: Option<StepBatch>) -> Result<()> {
        let batches = self.undo_steps()?;
        batches.iter().chain(&further).try_for_each(|batch| self.train_step(batch))
    }

    fn undo_steps(&mut self) -> Result<Vec<StepBatch>> {
        let batches = self.unread.undo()?;
        self.trainer.is_updating = false;
        Ok(batches)
    }
}
