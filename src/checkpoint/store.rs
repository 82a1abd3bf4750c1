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
    /// The number that it was saved under.
    pub number: u64,
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
        let is_temporary = |name: &String| target_of_temporary(name).and_then(number_of).is_some();
        for name in store.names()?.into_iter().filter(is_temporary) {
            store.remove_file(&store.folder.join(name))?;
        }
        Ok(store)
    }

    /// Saves a state under a number, by [`next_number`](Self::next_number), and returns the file. When this returns, it
    /// is on the disk.
    ///
    /// # Errors
    ///
    /// [`IoError::DiskFull`], [`IoError::Failed`], [`CheckpointError::Invalid`]. Then the folder is unchanged, without
    /// an incomplete file.
    pub fn save(&self, number: u64, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let path = self.path(number);
        let bytes = checkpoint.to_bytes().map_err(|problem| invalid(&path, problem))?;
        replace_on(&*self.disk, &path, &bytes)?;
        Ok(path)
    }

    /// Loads the newest checkpoint that is undamaged; `None` where there is no checkpoint at all.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`]; [`CheckpointError::Invalid`] where there are checkpoints and all of them are damaged, or
    /// where the newest has another format: it is not damaged, and an older one is not what the run came to.
    pub fn newest(&self) -> Result<Option<LoadedCheckpoint>> {
        let mut skipped = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            let path = self.path(number);
            let file = match self.disk.open(&path) {
                Ok(file) => file,
                Err(source) => {
                    skipped.push(Error::Io(IoError::Failed { action: "read", path, source }));
                    continue;
                }
            };
            match Checkpoint::read(file) {
                Ok(checkpoint) => return Ok(Some(LoadedCheckpoint { number, checkpoint, skipped })),
                Err(problem @ CheckpointProblem::Format { .. }) => return Err(invalid(&path, problem)),
                Err(problem) => skipped.push(invalid(&path, problem)),
            }
        }
        // A new run would in time remove checkpoints that could still be repaired by hand.
        skipped.into_iter().next().map_or(Ok(None), Err)
    }

    /// Renames a checkpoint that is not to be loaded, with a word such as "damaged" before its name, so that it remains
    /// for inspection and is not counted by [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn set_aside(&self, path: &Path, word: &str) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.folder.join(format!("{word}-{name}"));
        let done = self.disk.rename(path, &aside).and_then(|()| self.disk.sync(&self.folder));
        done.map_err(Error::io("rename", path))
    }

    /// Lists the numbers of the checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn numbers(&self) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self.names()?.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns a number above those of all checkpoints, also of those that were [set aside](Self::set_aside). A save
    /// under it outranks everything that was saved before, whatever the run's steps were.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn next_number(&self) -> Result<u64> {
        let in_any_name = |name: &String| name.find(PREFIX).and_then(|start| number_of(&name[start..]));
        Ok(self.names()?.iter().filter_map(in_any_name).max().unwrap_or(0) + 1)
    }

    /// Removes all checkpoints except the newest `last`, at least two, and those with the numbers in `also`.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn keep(&self, last: usize, also: &[u64]) -> Result<()> {
        let numbers = self.numbers()?;
        let old = numbers.len().saturating_sub(last.max(AT_LEAST));
        for &number in numbers[..old].iter().filter(|number| !also.contains(number)) {
            self.remove(number)?;
        }
        Ok(())
    }

    /// Removes the checkpoint with this number, if it exists.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn remove(&self, number: u64) -> Result<()> {
        self.remove_file(&self.path(number))
    }

    /// Returns the path of the checkpoint with this number.
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(name_of(number))
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::Io(IoError::Failed { action: "list", path: self.folder.clone(), source });
        self.disk.names(&self.folder).map_err(failed)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
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

fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:09}{SUFFIX}")
}

/// Reads the number from the name of a checkpoint; `None` for all other names.
fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
