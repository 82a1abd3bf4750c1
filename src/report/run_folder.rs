//! Folders for the results of runs.

use crate::error::{CheckpointError, IoError};
use crate::files::FolderLock;
use crate::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The files that a run writes; a folder with any of them holds a run.
const FILES: [&str; 6] =
    ["history.csv", "report.html", "curves.png", "predictions.png", "model.safetensors", "checkpoints"];

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
    /// already, [`IoError::Failed`] where it is a file, cannot be created, or is not writable.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = RunFolder::resumed(path)?;
        match FILES.into_iter().find(|file| folder.file(file).exists()) {
            Some(file) => Err(Error::Checkpoint(CheckpointError::RunExists { folder: folder.path.clone(), file })),
            None => Ok(folder),
        }
    }

    /// Opens a folder, whether or not it holds a run: for a run that is resumed. It is created where it does not exist.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::FolderInUse`] where another run uses it, [`IoError::Failed`] where it is a file, cannot be
    /// created, or is not writable.
    pub fn resumed(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let failed = |action, source| Error::Io(IoError::Failed { action, path: path.clone(), source });
        fs::create_dir_all(&path).map_err(|source| failed("create the folder", source))?;
        Ok(RunFolder { _lock: FolderLock::take(&path)?, path })
    }

    /// Creates the first free one of the folders `001`, `002`, … in `parent`, for a new run.
    ///
    /// # Errors
    ///
    /// Those of [`at`](Self::at).
    pub fn numbered(parent: impl AsRef<Path>) -> Result<Self> {
        let parent = parent.as_ref();
        let failed = |path: &Path, source| {
            Error::Io(IoError::Failed { action: "create the folder", path: path.to_owned(), source })
        };
        fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
        for number in 1.. {
            let path = parent.join(format!("{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return RunFolder::at(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        unreachable!("a folder holds fewer entries than there are numbers")
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
