//! Folders for the results of runs.

use crate::error::CheckpointError;
use crate::files::{FolderLock, create_folder, create_new_folder};
use crate::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The history of a run, whose first line names the columns.
const HISTORY: &str = "history.csv";

/// The folder of a run's checkpoints.
const CHECKPOINTS: &str = "checkpoints";

/// The files that a run writes; a folder with any of them holds a run.
const FILES: [&str; 6] = [HISTORY, "report.html", "curves.png", "predictions.png", "model.safetensors", CHECKPOINTS];

/// A folder for the results of one run, created and found writable before the run starts. No other run can use it as
/// long as the value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl RunFolder {
    /// Opens a folder for a new run. It is created where it does not exist.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::FolderInUse`] where another run uses it, [`CheckpointError::RunExists`] where it holds a run
    /// already, [`IoError::Failed`](crate::error::IoError::Failed) where it is a file, cannot be created, or is not
    /// writable.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = RunFolder::open(path.into())?;
        match FILES.into_iter().find(|file| folder.file(file).exists()) {
            Some(file) => Err(Error::Checkpoint(CheckpointError::RunExists { folder: folder.path.clone(), file })),
            None => Ok(folder),
        }
    }

    /// Opens the folder of a run that is resumed, or a folder for a new run where there is none to resume. It is created
    /// where it does not exist.
    ///
    /// The checkpoints of the run are those in the folder `checkpoints` inside of it. A folder without results, or with
    /// a history of no epoch, is one for a new run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NoCheckpoint`] where the folder holds results but no checkpoint, since a run that starts anew
    /// would overwrite them; [`CheckpointError::FolderInUse`] where another run uses it;
    /// [`IoError::Failed`](crate::error::IoError::Failed) where it is a file, cannot be created, or is not writable.
    pub fn resumed(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = RunFolder::open(path.into())?;
        if !folder.has_checkpoint()? {
            for file in FILES {
                if folder.has_result(file)? {
                    return Err(Error::Checkpoint(CheckpointError::NoCheckpoint { folder: folder.path.clone(), file }));
                }
            }
        }
        Ok(folder)
    }

    /// Creates the first free one of the folders `001`, `002`, … in `parent`, for a new run.
    ///
    /// # Errors
    ///
    /// Those of [`at`](Self::at).
    pub fn numbered(parent: impl AsRef<Path>) -> Result<Self> {
        let parent = parent.as_ref();
        create_folder(parent)?;
        for number in 1.. {
            let path = parent.join(format!("{number:03}"));
            if create_new_folder(&path)? {
                return RunFolder::at(path);
            }
        }
        unreachable!("a folder holds fewer entries than there are numbers")
    }

    /// Creates the folder where it does not exist, and locks it.
    fn open(path: PathBuf) -> Result<Self> {
        create_folder(&path)?;
        Ok(RunFolder { _lock: FolderLock::take(&path)?, path })
    }

    /// Whether there is a checkpoint, damaged ones included.
    fn has_checkpoint(&self) -> Result<bool> {
        let folder = self.file(CHECKPOINTS);
        let names = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            entries => entries.and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect()),
        };
        let names: Vec<_> = names.map_err(Error::io("list", &folder))?;
        Ok(names.iter().any(|name| is_checkpoint(&name.to_string_lossy())))
    }

    /// Whether a file of this name holds results of a run: of an epoch, in the case of the history.
    fn has_result(&self, file: &str) -> Result<bool> {
        let path = self.file(file);
        match file {
            CHECKPOINTS => Ok(false),
            HISTORY => match fs::read_to_string(&path) {
                Ok(text) => Ok(text.lines().filter(|line| !line.is_empty()).count() > 1),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                // Not a text, so that it is not this crate's.
                Err(error) if error.kind() == ErrorKind::InvalidData => Ok(true),
                Err(error) => Err(Error::io("read", path)(error)),
            },
            _ => Ok(path.exists()),
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Whether a file of this name in the folder of checkpoints is a checkpoint, or was one before it was damaged.
fn is_checkpoint(name: &str) -> bool {
    let name = name.strip_prefix("damaged-").unwrap_or(name);
    name.starts_with("checkpoint-") && name.ends_with(".safetensors")
}
