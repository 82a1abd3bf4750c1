//! A lock on a folder, which one run holds at a time.

use crate::error::{CheckpointError, IoError};
use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The name of the locked file.
const NAME: &str = ".lock";

/// The lock on a folder. It is released when the value is dropped or the process ends, in any way.
#[derive(Debug)]
pub(crate) struct FolderLock {
    path: PathBuf,
    file: File,
}

impl FolderLock {
    /// Locks the folder; the error says which process holds the lock.
    pub fn take(folder: &Path) -> Result<Self> {
        loop {
            let opened = open(&folder.join(NAME)).map_err(|source| failed("write to", folder, source))?;
            if let Some(lock) = FolderLock::of(opened, folder)? {
                return Ok(lock);
            }
        }
    }

    /// Locks the folder by its opened file. `None` where the previous holder has removed that file in the meantime:
    /// another process would create and lock a new one.
    fn of(mut file: File, folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder may not have written its number yet.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.is_empty() { "another process" } else { holder.trim() }.to_owned();
                return Err(Error::Checkpoint(CheckpointError::FolderInUse { folder: folder.to_owned(), holder }));
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", folder, source)),
        }
        if !is_at(&file, &path).map_err(|source| failed("lock", folder, source))? {
            return Ok(None);
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {}", std::process::id()));
        written.map_err(|source| failed("write to", folder, source))?;
        Ok(Some(FolderLock { path, file }))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn failed(action: &'static str, folder: &Path, source: io::Error) -> Error {
    Error::Io(IoError::Failed { action, path: folder.to_owned(), source })
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Removed while it is locked, so that no other process's file is removed. A remaining file does no harm.
        if let Ok(true) = is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file is the one at this path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let same = |named: fs::Metadata| -> io::Result<bool> {
        let open = file.metadata()?;
        Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
    };
    match fs::metadata(path) {
        Ok(named) => same(named),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_its_holder_removed_after_it_was_opened_gives_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let opened = open(&folder.path().join(NAME)).unwrap();
        drop(first);
        let other = FolderLock::take(folder.path()).unwrap();
        assert!(FolderLock::of(opened, folder.path()).unwrap().is_none());
        assert!(matches!(FolderLock::take(folder.path()), Err(Error::Checkpoint(CheckpointError::FolderInUse { .. }))));
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
