//! The checkpoints of a run: the one to resume from, the times of saving, and the ones to keep.

use super::{CheckpointConfig, EpochRecord, Resume, SaveEvery};
use crate::checkpoint::{Checkpoint, LoadedCheckpoint, Store};
use crate::error::CheckpointError;
use crate::{Error, Result, files};
use serde_json::{Map, Value};
use std::time::Instant;

/// The event after which a run may save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaveTrigger {
    StepEnded,
    EpochEnded,
    /// The run ends here, finished or not.
    RunEnds,
}

/// The checkpoints of a run.
#[derive(Debug)]
pub(super) struct Checkpoints {
    config: CheckpointConfig,
    store: Store,
    /// The values that have to be equal in a resumed run, by field.
    pub run: Map<String, Value>,
    saved_at: Instant,
    /// Values of the best epochs, best first, and the steps after which they were saved.
    pub best: Vec<(f64, u64)>,
}

impl Checkpoints {
    /// Opens the folder, and reads the checkpoint to resume from where there is one and the configuration says so.
    pub fn open(config: &CheckpointConfig) -> Result<(Self, Option<LoadedCheckpoint>)> {
        config.check()?;
        let folder = &config.folder;
        files::create_folder(folder)?;
        let store = Store::open(folder)?;
        let loaded = match config.resume {
            Resume::Never if store.steps()?.is_empty() => None,
            Resume::Never => {
                return Err(Error::Checkpoint(CheckpointError::CheckpointsExist { folder: folder.clone() }));
            }
            Resume::IfPresent => newest(&store)?,
        };
        let config = config.clone();
        Ok((Checkpoints { config, store, run: Map::new(), saved_at: Instant::now(), best: Vec::new() }, loaded))
    }

    /// Returns the fields in which a resumed run may differ from the saved one.
    pub fn allowed_changes(&self) -> Vec<&'static str> {
        self.config.allowed_changes.iter().map(|change| change.field()).collect()
    }

    /// Whether to save now, after `steps` steps and `epochs` finished epochs of the run.
    pub fn is_due(&self, trigger: SaveTrigger, steps: u64, epochs: usize) -> bool {
        match (trigger, self.config.every) {
            (SaveTrigger::RunEnds, _) => true,
            (SaveTrigger::StepEnded, SaveEvery::Steps(every)) => steps.is_multiple_of(every),
            (SaveTrigger::StepEnded, SaveEvery::Time(every)) => self.saved_at.elapsed() >= every,
            (SaveTrigger::EpochEnded, SaveEvery::Epochs(every)) => epochs.is_multiple_of(every),
            _ => false,
        }
    }

    /// Ranks the checkpoint of an epoch that ended after `steps` steps among the best.
    pub fn rank(&mut self, record: &EpochRecord, steps: u64) -> Result<()> {
        if let Some((count, monitor)) = &self.config.keep_best {
            let value = monitor.value(record)?;
            let is_better = |other: f64| monitor.direction.is_better(value, other);
            let place = self.best.iter().position(|&(other, _)| is_better(other)).unwrap_or(self.best.len());
            self.best.insert(place, (value, steps));
            self.best.truncate(*count);
        }
        Ok(())
    }

    /// Saves a checkpoint, and removes those that need not remain.
    pub fn save(&mut self, steps: u64, checkpoint: &Checkpoint) -> Result<()> {
        self.store.save(steps, checkpoint)?;
        self.saved_at = Instant::now();
        let best: Vec<u64> = self.best.iter().map(|best| best.1).collect();
        self.store.keep(self.config.keep_last, &best)
    }
}

/// Loads the newest undamaged checkpoint. Damaged newer ones are renamed, so that they are not counted any more.
fn newest(store: &Store) -> Result<Option<LoadedCheckpoint>> {
    let Some(found) = store.newest()? else { return Ok(None) };
    for error in &found.skipped {
        // A file that could not be read may be undamaged.
        if let Error::Checkpoint(CheckpointError::Invalid { path, .. }) = error {
            store.set_aside(path)?;
        }
    }
    Ok(Some(found))
}
