//! One run in one folder.

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const NAME: &str = ".lock";

/// A folder that nobody else has. It is free again when the value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    path: PathBuf,
    file: File,
}

impl FolderLock {
    /// Takes the folder, or says who has it.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let failed = |action, source| Error::Io { action, path: folder.to_owned(), source };
        loop {
            let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = open.map_err(|source| failed("write to the folder", source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // A holder that is just about to write its number has none yet.
                    let _ = file.read_to_string(&mut holder);
                    let holder = if holder.is_empty() { "another process" } else { holder.trim() }.to_owned();
                    return Err(Error::FolderInUse { folder: folder.to_owned(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock the folder", source)),
            }
            // Whoever had it may have removed the file after it was opened here; the next to come would make a new one.
            if !is_at(&file, &path).map_err(|source| failed("lock the folder", source))? {
                continue;
            }
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "process {}", std::process::id()));
            written.map_err(|source| failed("write to the folder", source))?;
            return Ok(FolderLock { path, file });
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // While it is locked, so that nobody else's is removed. A file that stays is in nobody's way.
        if let Ok(true) = is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the open file is the one that has this name.
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
