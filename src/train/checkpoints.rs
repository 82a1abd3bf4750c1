//! When a run saves its state, and which saved ones stay.

use super::{EpochRecord, Watched};
use crate::checkpoint::{Checkpoint, LoadedCheckpoint, Store};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// When a run saves its state. At its end, and where it is stopped, it saves in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveEvery {
    /// After so many steps, counted over the whole run; at least 1.
    Steps(u64),
    /// After the first step that ends so long after the last save.
    Time(Duration),
    /// After so many epochs, evaluation included; at least 1.
    Epochs(usize),
}

/// Where, when and how many checkpoints a run keeps.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// A folder, which is made where it is not there yet.
    pub folder: PathBuf,
    /// Default: after every epoch.
    pub every: SaveEvery,
    /// The newest that are kept, at least 2, which is the default.
    pub keep_last: usize,
    /// How many of the best epochs' checkpoints are kept beside them, and by which figure of the validation split. Default: none.
    pub keep_best: (usize, Watched),
    /// Fields in which a resumed run may differ from the saved one, such as "epochs". Default: none.
    pub allowed_changes: Vec<String>,
}

impl CheckpointConfig {
    /// Checkpoints in this folder, after every epoch.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        CheckpointConfig {
            folder: folder.into(),
            every: SaveEvery::Epochs(1),
            keep_last: 2,
            keep_best: (0, Watched::Loss),
            allowed_changes: Vec::new(),
        }
    }

    setters! {
        with_every => every: SaveEvery,
        with_keep_last => keep_last: usize,
        with_keep_best => keep_best: (usize, Watched),
        with_allowed_changes => allowed_changes: Vec<String>,
    }

    fn check(&self) -> Result<()> {
        match self.every {
            SaveEvery::Steps(0) | SaveEvery::Epochs(0) => Error::at_least_one("steps or epochs between checkpoints", 0),
            _ => Ok(()),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for CheckpointConfig {
    /// As [`in_folder`](CheckpointConfig::in_folder).
    fn from(folder: P) -> Self {
        CheckpointConfig::in_folder(folder)
    }
}

/// What has just happened in a run that may save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    StepEnded,
    EpochEnded,
    /// The run ends here, finished or not.
    RunEnds,
}

/// A run's checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    config: CheckpointConfig,
    store: Store,
    /// What has to be the same when the run goes on, by field.
    pub run: Map<String, Value>,
    /// What the run is to go on from.
    pub resumed: Option<LoadedCheckpoint>,
    saved_at: Instant,
    /// How good, larger is better, and after which step.
    pub best: Vec<(f64, u64)>,
}

impl Checkpoints {
    /// Of a new run: the folder holds none.
    pub fn new(config: CheckpointConfig) -> Result<Self> {
        let checkpoints = Checkpoints::open(config)?;
        match checkpoints.store.steps()?.is_empty() {
            true => Ok(checkpoints),
            false => Err(Error::CheckpointsExist { folder: checkpoints.config.folder }),
        }
    }

    /// Of a run that goes on after its newest checkpoint, or begins where there is none.
    pub fn resuming(config: CheckpointConfig) -> Result<Self> {
        let checkpoints = Checkpoints::open(config)?;
        let resumed = checkpoints.store.newest()?;
        for error in resumed.iter().flat_map(|found| &found.skipped) {
            // What could not be read just now may be whole.
            if let Error::Checkpoint { path, .. } = error {
                checkpoints.store.set_aside(path)?;
            }
        }
        Ok(Checkpoints { resumed, ..checkpoints })
    }

    fn open(config: CheckpointConfig) -> Result<Self> {
        config.check()?;
        std::fs::create_dir_all(&config.folder).map_err(|source| Error::Io {
            action: "create the folder",
            path: config.folder.clone(),
            source,
        })?;
        let store = Store::open(&config.folder)?;
        Ok(Checkpoints { config, store, run: Map::new(), resumed: None, saved_at: Instant::now(), best: Vec::new() })
    }

    pub fn allowed_changes(&self) -> &[String] {
        &self.config.allowed_changes
    }

    /// Whether to save now, after so many steps and finished epochs of the run.
    pub fn is_due(&self, moment: Moment, steps: u64, epochs: usize) -> bool {
        match (moment, self.config.every) {
            (Moment::RunEnds, _) => true,
            (Moment::StepEnded, SaveEvery::Steps(every)) => steps.is_multiple_of(every),
            (Moment::StepEnded, SaveEvery::Time(every)) => self.saved_at.elapsed() >= every,
            (Moment::EpochEnded, SaveEvery::Epochs(every)) => epochs.is_multiple_of(every),
            _ => false,
        }
    }

    /// Takes in an epoch that ended after so many steps: its checkpoint is among the best, or not.
    pub fn rank(&mut self, record: &EpochRecord, steps: u64) -> Result<()> {
        let (count, watched) = self.config.keep_best;
        if let (1.., Some(scores)) = (count, &record.validation) {
            self.best.push((watched.goodness(scores)?, steps));
            self.best.sort_by(|a, b| b.0.total_cmp(&a.0));
            self.best.truncate(count);
        }
        Ok(())
    }

    /// Saves, and removes what need not stay.
    pub fn save(&mut self, steps: u64, checkpoint: &Checkpoint) -> Result<()> {
        self.store.save(steps, checkpoint)?;
        self.saved_at = Instant::now();
        let best: Vec<u64> = self.best.iter().map(|best| best.1).collect();
        self.store.keep(self.config.keep_last, &best)
    }
}
