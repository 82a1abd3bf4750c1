//! The beginning of a call of `fit`: where the run continues.

use super::Trainer;
use super::callback::Event;
use super::checked::CheckedTensors;
use super::checkpoints::Checkpoints;
use super::identity::{Identity, Parts};
use super::run_loop::RunLoop;
use super::run_state::{Restored, RunState};
use crate::error::TrainingError;
use crate::models::Model;
use crate::{Error, Result};

/// What a call of `fit` may have changed since the call before: what the trainer's methods set.
const CHANGES_BETWEEN_CALLS: [&str; 4] = ["epochs", "callbacks", "loss", "metrics"];

impl<M: Model> RunLoop<'_, M> {
    /// Takes the position from which the run continues: its start, that of the call before, or that of a checkpoint.
    pub fn begin(&mut self) -> Result<()> {
        let skipped = self.restore()?;
        let trainer = &mut *self.trainer;
        if trainer.progress.end.as_ref().is_some_and(|end| end.is_revoked(trainer.config.epochs, self.callbacks)) {
            trainer.progress.end = None;
        }
        trainer.checked = CheckedTensors::of(&trainer.vs);
        self.notify(Event::FitStarted)?;
        if let Some(skipped) = &skipped {
            let (epoch, step) = (self.trainer.progress.epoch, self.trainer.progress.step);
            self.notify(Event::Resumed { epoch, step, skipped })?;
        }
        if let Some(message) = &self.data.warning {
            self.notify(Event::Warning { message })?;
        }
        Ok(())
    }

    /// Opens the folder of checkpoints in the first call, and restores the run from the one to resume from. Returns the
    /// errors of newer ones in that case. Changes nothing where it returns an error, so that a later call meets it too.
    fn restore(&mut self) -> Result<Option<Vec<Error>>> {
        let Trainer { checkpoint_config, checkpoints, is_updating, .. } = &mut *self.trainer;
        let Some(config) = checkpoint_config else {
            return if *is_updating { Err(Error::Training(TrainingError::IncompleteUpdate)) } else { Ok(None) };
        };
        let mut config = config.clone();
        if *is_updating {
            // What is in memory is neither the state before the update nor the one after it.
            *checkpoints = None;
            config.resume = true;
        }
        let run = self.identity()?;
        let trainer = &mut *self.trainer;
        if let Some(checkpoints) = &mut trainer.checkpoints {
            let allowed = [&CHANGES_BETWEEN_CALLS[..], &checkpoints.allowed_changes()].concat();
            run.check_against(&checkpoints.run, &allowed)?;
            checkpoints.run = run;
            return Ok(None);
        }
        let (mut opened, loaded) = Checkpoints::open(&config)?;
        let mut skipped = None;
        if let Some(loaded) = loaded {
            let allowed = opened.allowed_changes();
            let (vs, optimizer, metrics) = (&trainer.vs, trainer.optimizer.as_mut(), &mut trainer.metrics);
            let mut state = RunState { vs, optimizer, metrics, callbacks: self.callbacks };
            let Restored { progress, ranking } = state.restore(loaded.checkpoint, &run, &allowed)?;
            (trainer.progress, opened.ranking, trainer.is_updating) = (progress, ranking, false);
            skipped = Some(loaded.skipped);
        } else if trainer.is_updating {
            return Err(Error::Training(TrainingError::IncompleteUpdate));
        }
        opened.run = run;
        trainer.checkpoints = Some(opened);
        Ok(skipped)
    }

    fn identity(&self) -> Result<Identity> {
        let trainer = &*self.trainer;
        Identity::of(&Parts {
            config: &trainer.config,
            model: &trainer.model,
            vs: &trainer.vs,
            optimizer: trainer.optimizer.as_ref(),
            loss: trainer.loss.as_ref(),
            metrics: &trainer.metrics,
            callbacks: self.callbacks,
            datasets: &self.data.datasets,
        })
    }
}
