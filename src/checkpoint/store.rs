//! The checkpoints of one run in a folder.

use super::Checkpoint;
use super::problem::CheckpointProblem;
use crate::error::{CheckpointError, IoError};
use crate::files::{Disk, FolderLock, RealDisk, replace_on, target_of_temporary};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Smallest number of checkpoints that remain, since the newest may turn out to be damaged.
const AT_LEAST: usize = 2;

/// A folder of checkpoints, which belongs to this value alone as long as it lives.
///
/// A save writes a temporary file, forces it onto the disk, renames it and forces the folder onto the disk, and only
/// then reports success; a failure leaves what was there. So a checkpoint is complete or absent, also after a kill or a
/// power cut.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    _lock: FolderLock,
}

/// A checkpoint that was read from a [`Store`].
#[derive(Debug)]
pub struct LoadedCheckpoint {
    /// The state that was saved.
    pub checkpoint: Checkpoint,
    /// Why newer checkpoints, if any, were skipped.
    pub skipped: Vec<Error>,
}

impl Store {
    /// Opens the store in a folder, which has to exist, and removes the temporary files of killed processes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::FolderInUse`] where another run has the folder, [`IoError::Failed`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Store::open_on(RealDisk, folder)
    }

    /// Opens the store with the file operations of `disk`.
    pub(super) fn open_on(disk: impl Disk + 'static, folder: impl Into<PathBuf>) -> Result<Self> {
        let (disk, folder) = (Box::new(disk), folder.into());
        let store = Store { _lock: FolderLock::take(&folder)?, folder, disk };
        // No other process can be writing one of them.
        let is_temporary = |name: &String| target_of_temporary(name).and_then(step_of).is_some();
        for name in store.names()?.into_iter().filter(is_temporary) {
            store.remove(&store.folder.join(name))?;
        }
        Ok(store)
    }

    /// Saves the state after `step` steps of the run, and returns the file. When this returns, it is on the disk.
    ///
    /// # Errors
    ///
    /// [`IoError::DiskFull`], [`IoError::Failed`], [`CheckpointError::Invalid`]. Then the folder is unchanged, without
    /// an incomplete file.
    pub fn save(&self, step: u64, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let path = self.path(step);
        let bytes = checkpoint.to_bytes().map_err(|problem| invalid(&path, problem))?;
        replace_on(&*self.disk, &path, &bytes)?;
        Ok(path)
    }

    /// Loads the newest checkpoint that is undamaged; `None` where there is no checkpoint at all.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`]; [`CheckpointError::Invalid`] where there are checkpoints and all of them are damaged.
    pub fn newest(&self) -> Result<Option<LoadedCheckpoint>> {
        let mut skipped = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            let file = match self.disk.open(&path) {
                Ok(file) => file,
                Err(source) => {
                    skipped.push(Error::Io(IoError::Failed { action: "read", path, source }));
                    continue;
                }
            };
            match Checkpoint::read(file) {
                Ok(checkpoint) => return Ok(Some(LoadedCheckpoint { checkpoint, skipped })),
                Err(problem) => skipped.push(invalid(&path, problem)),
            }
        }
        // A new run would in time remove checkpoints that could still be repaired by hand.
        skipped.into_iter().next().map_or(Ok(None), Err)
    }

    /// Renames a damaged checkpoint, with "damaged-" before its name, so that it remains for inspection and is not
    /// counted by [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn set_aside(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.folder.join(format!("damaged-{name}"));
        let done = self.disk.rename(path, &aside).and_then(|()| self.disk.sync(&self.folder));
        done.map_err(Error::io("rename", path))
    }

    /// Lists the steps after which the checkpoints were saved, oldest first.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| step_of(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes all checkpoints except the newest `last`, at least two, and those of the steps in `also`.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn keep(&self, last: usize, also: &[u64]) -> Result<()> {
        let steps = self.steps()?;
        let old = steps.len().saturating_sub(last.max(AT_LEAST));
        for &step in steps[..old].iter().filter(|step| !also.contains(step)) {
            self.remove(&self.path(step))?;
        }
        Ok(())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(name_of(step))
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::Io(IoError::Failed { action: "list", path: self.folder.clone(), source });
        self.disk.names(&self.folder).map_err(failed)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.disk.remove(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::Io(IoError::Failed { action: "remove", path: path.to_owned(), source }))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(path: &Path, problem: CheckpointProblem) -> Error {
    Error::Checkpoint(CheckpointError::Invalid { path: path.to_owned(), source: problem.into() })
}

const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";

fn name_of(step: u64) -> String {
    format!("{PREFIX}{step:09}{SUFFIX}")
}

/// Reads the step from the name of a checkpoint; `None` for all other names.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}
