//! The checkpoints of one run in a folder.

use super::{Checkpoint, Disk, RealDisk};
use crate::files::{FolderLock, not_written};
use crate::{Error, Result};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Fewer are never kept: the newest may turn out to be damaged.
const AT_LEAST: usize = 2;

/// A folder of checkpoints, held alone as long as the value lives.
///
/// A save writes a temporary file, forces it onto the disk, renames it and forces the folder onto the disk, and only then reports
/// success; a failure leaves what was there. So a checkpoint is whole or absent, also after a kill or a power cut.
#[derive(Debug)]
pub struct Store<D = RealDisk> {
    folder: PathBuf,
    disk: D,
    _lock: FolderLock,
}

/// A checkpoint that was found.
#[derive(Debug)]
pub struct Found {
    /// The step after which it was saved, counted over the whole run.
    pub step: u64,
    /// Its content.
    pub checkpoint: Checkpoint,
    /// Why newer ones were passed over.
    pub passed_over: Vec<Error>,
}

impl Store {
    /// The store in this folder, which has to exist.
    ///
    /// # Errors
    ///
    /// [`Error::FolderInUse`] where another run has it, [`Error::Io`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Store::open_on(RealDisk, folder)
    }
}

impl<D: Disk> Store<D> {
    /// As [`open`](Store::open), with these file calls.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_on(disk: D, folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let store = Store { _lock: FolderLock::take(&folder)?, folder, disk };
        // What a kill left behind: nobody else can be writing it.
        let is_temporary = |name: &String| {
            let rest = name.strip_prefix('.').and_then(|name| name.split_once(TEMPORARY));
            rest.is_some_and(|(checkpoint, _)| step_of(checkpoint).is_some())
        };
        for name in store.names()?.into_iter().filter(is_temporary) {
            store.remove(&store.folder.join(name))?;
        }
        Ok(store)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Saves the state after a step, counted over the whole run. When this returns it is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`], [`Error::Io`], [`Error::Checkpoint`]. What was there before is unchanged then, and nothing that is not whole stays.
    pub fn save(&self, step: u64, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let path = self.path(step);
        let bytes = checkpoint.to_bytes().map_err(|problem| Error::Checkpoint { path: path.clone(), problem })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let random = RandomState::new().hash_one(step);
        let temporary = self.folder.join(format!(".{name}{TEMPORARY}{}-{random:016x}", std::process::id()));
        let written = self.disk.write_new(&temporary, &bytes).and_then(|()| self.disk.sync(&temporary));
        if let Err(source) = written.and_then(|()| self.disk.rename(&temporary, &path)) {
            // The first failure is the one to report.
            let _ = self.disk.remove(&temporary);
            return Err(not_written(&path, &bytes, source, self.disk.free(&self.folder)));
        }
        // The file is whole; whether it would be there after a power cut is what is not known.
        self.disk.sync(&self.folder).map_err(|source| Error::Io { action: "write", path: path.clone(), source })?;
        Ok(path)
    }

    /// The newest checkpoint that is whole; `None` where there is none at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Checkpoint`] where there are checkpoints and all of them are damaged.
    pub fn newest(&self) -> Result<Option<Found>> {
        let mut passed_over = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            let file = match self.disk.open(&path) {
                Ok(file) => file,
                Err(source) => {
                    passed_over.push(Error::Io { action: "read", path, source });
                    continue;
                }
            };
            match Checkpoint::read(file) {
                Ok(checkpoint) => return Ok(Some(Found { step, checkpoint, passed_over })),
                Err(problem) => passed_over.push(Error::Checkpoint { path, problem }),
            }
        }
        // To start anew would in the end push out what may still be saved by hand.
        passed_over.into_iter().next().map_or(Ok(None), Err)
    }

    /// Gives a file another name, with "damaged-" before it, under which it is no checkpoint any more and stays: so that it does not
    /// count among those that are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn set_aside(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.folder.join(format!("damaged-{name}"));
        let done = self.disk.rename(path, &aside).and_then(|()| self.disk.sync(&self.folder));
        done.map_err(|source| Error::Io { action: "rename", path: path.to_owned(), source })
    }

    /// The steps of the checkpoints that are there, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| step_of(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes all but the newest `last`, of which two stay in any case, and those of the steps in `also`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
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
        let failed = |source| Error::Io { action: "list", path: self.folder.clone(), source };
        self.disk.names(&self.folder).map_err(failed)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.disk.remove(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::Io { action: "remove", path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";
const TEMPORARY: &str = ".tmp-";

fn name_of(step: u64) -> String {
    format!("{PREFIX}{step:09}{SUFFIX}")
}

/// The step of a checkpoint's name, and of no other name.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}
