//! The checkpoints of a run: the one to resume from, the times of saving, and the ones to keep.

use super::identity::Identity;
use super::progress::Progress;
use super::run_state::Ranking;
use super::{CheckpointConfig, EpochRecord, SaveEvery};
use crate::checkpoint::{Checkpoint, LoadedCheckpoint, Store};
use crate::error::CheckpointError;
use crate::{Error, Result, files};
use std::time::Instant;

/// The event after which a run may save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaveTrigger {
    StepEnded,
    /// The epoch is evaluated; `is_best` says whether its checkpoint is among the best, which are kept.
    EpochEnded {
        is_best: bool,
    },
    /// Something may go wrong before the next save is due, or the run ends here.
    Always,
}

/// The checkpoints of a run.
#[derive(Debug)]
pub(super) struct Checkpoints {
    config: CheckpointConfig,
    store: Store,
    pub run: Identity,
    pub ranking: Ranking,
    saved_at: Instant,
    /// The number and the position of the newest checkpoint, from this process.
    newest: Option<(u64, Progress)>,
    /// The numbers of the checkpoints after which no loss was computed yet.
    unconfirmed: Vec<u64>,
}

impl Checkpoints {
    /// Opens the folder, and reads the checkpoint to resume from where there is one and the configuration says so.
    pub fn open(config: &CheckpointConfig) -> Result<(Self, Option<LoadedCheckpoint>)> {
        config.check()?;
        let folder = &config.folder;
        files::create_folder(folder)?;
        let store = Store::open(folder)?;
        if !config.resume && !store.numbers()?.is_empty() {
            return Err(Error::Checkpoint(CheckpointError::CheckpointsExist { folder: folder.clone() }));
        }
        let loaded = newest(&store)?;
        let checkpoints = Checkpoints {
            config: config.clone(),
            store,
            run: Identity::default(),
            ranking: Ranking::default(),
            saved_at: Instant::now(),
            newest: None,
            unconfirmed: loaded.iter().map(|loaded| loaded.number).collect(),
        };
        Ok((checkpoints, loaded))
    }

    /// Returns the fields in which a resumed run may differ from the saved one.
    pub fn allowed_changes(&self) -> Vec<&'static str> {
        self.config.allowed_changes.iter().map(|change| change.field()).collect()
    }

    /// Whether to save now: where the trigger and the configuration say so, and the run has advanced since the last
    /// save.
    pub fn is_due(&self, trigger: SaveTrigger, progress: &Progress) -> bool {
        let is_due = match (trigger, self.config.every) {
            (SaveTrigger::Always | SaveTrigger::EpochEnded { is_best: true }, _) => true,
            (SaveTrigger::StepEnded, SaveEvery::Steps(every)) => progress.steps.is_multiple_of(every),
            (SaveTrigger::StepEnded, SaveEvery::Time(every)) => self.saved_at.elapsed() >= every,
            (SaveTrigger::EpochEnded { .. }, SaveEvery::Epochs(every)) => {
                progress.history.epochs.len().is_multiple_of(every)
            }
            _ => false,
        };
        is_due && self.newest.as_ref().is_none_or(|(_, saved)| saved != progress)
    }

    /// Whether a save is due after this number of steps, whatever has been saved before.
    pub fn is_due_after(&self, steps: u64) -> bool {
        matches!(self.config.every, SaveEvery::Steps(every) if steps.is_multiple_of(every))
    }

    /// Ranks an evaluated epoch, whose checkpoint is the next one, among the best. Returns whether it is one of them.
    pub fn rank(&mut self, record: &EpochRecord) -> Result<bool> {
        let Some((count, monitor)) = &self.config.keep_best else { return Ok(false) };
        let value = monitor.value(record)?;
        let best = &mut self.ranking.best;
        let is_better = |other: f64| monitor.direction.is_better(value, other);
        let place = best.iter().position(|&(other, _)| is_better(other)).unwrap_or(best.len());
        best.insert(place, (value, self.store.next_number()?));
        best.truncate(*count);
        Ok(place < *count)
    }

    /// Saves a checkpoint, and removes those that need not remain.
    pub fn save(&mut self, progress: &Progress, checkpoint: &Checkpoint) -> Result<()> {
        let number = self.store.next_number()?;
        self.store.save(number, checkpoint)?;
        self.saved_at = Instant::now();
        self.unconfirmed.push(number);
        let before = self.newest.replace((number, progress.clone()));
        let mut kept: Vec<u64> = self.ranking.best.iter().map(|best| best.1).collect();
        kept.extend(self.ranking.last_good);
        // A state after the same step has no use any more, such as the one before an evaluation after it.
        if let Some((before, _)) = before.filter(|(_, before)| before.steps == progress.steps)
            && !self.ranking.best.iter().any(|best| best.1 == before)
        {
            self.store.remove(before)?;
            self.unconfirmed.retain(|&unconfirmed| unconfirmed != before);
            // Its variables are those of the new one.
            if self.ranking.last_good == Some(before) {
                self.confirm();
            }
        }
        self.store.keep(self.config.keep_last, &kept)
    }

    /// Notes that a loss computed from the newest checkpoint's variables, or from later ones, is finite. Until then the
    /// last good checkpoint is kept.
    pub fn confirm(&mut self) {
        self.ranking.last_good = self.unconfirmed.drain(..).max().or(self.ranking.last_good);
    }

    /// Sets the checkpoints aside whose variables led to a value that is not finite, so that a resumed run starts from
    /// the last good one.
    pub fn set_diverged_aside(&mut self) -> Result<()> {
        // Older ones may be removed already.
        let remaining = self.store.numbers()?;
        for number in self.unconfirmed.drain(..).filter(|number| remaining.contains(number)) {
            self.store.set_aside(&self.store.path(number), "diverged")?;
        }
        self.newest = None;
        Ok(())
    }
}

/// Loads the newest undamaged checkpoint. Damaged newer ones are renamed, so that they are not counted any more.
fn newest(store: &Store) -> Result<Option<LoadedCheckpoint>> {
    let Some(found) = store.newest()? else { return Ok(None) };
    for error in &found.skipped {
        // A file that could not be read may be undamaged.
        if let Error::Checkpoint(CheckpointError::Invalid { path, .. }) = error {
            store.set_aside(path, "damaged")?;
        }
    }
    Ok(Some(found))
}
