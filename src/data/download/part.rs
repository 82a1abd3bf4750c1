//! A file while it is being fetched.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `<name>.gz.<process>-<number>.part`: of this attempt alone, so that two programs may fetch at once. Removed when dropped.
pub(super) struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{name}.gz.{}-{number}.part", std::process::id()));
        // A process of the same number may have left one behind; removing it first keeps the creation exclusive.
        let _ = fs::remove_file(&path);
        match File::create_new(&path) {
            Ok(file) => Ok(Part { path, file }),
            Err(source) => Err(Error::Io { action: "create", path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| Error::Io { action: "write", path: self.path.clone(), source })
    }

    /// Gives the file its name. It is on the disk before it has it.
    pub(super) fn commit(self, target: &Path) -> Result<()> {
        let named =
            self.file.sync_all().and_then(|()| fs::rename(&self.path, target)).and_then(|()| sync_folder(target));
        named.map_err(|source| Error::Io { action: "save", path: target.to_owned(), source })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a commit it is gone already; one that cannot be removed is the next download's to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn sync_folder(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Other systems have no way to ask for it.
#[cfg(not(unix))]
fn sync_folder(_file: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes what killed downloads of this file left behind: parts that nobody has written to for a day.
pub(super) fn remove_old_parts(folder: &Path, name: &str) {
    let prefix = format!("{name}.gz.");
    // Only tidying up: what cannot be listed or removed does no harm.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if file_name.starts_with(&prefix) && file_name.ends_with(".part") && age.is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Longer than any download that still runs has gone without writing.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
