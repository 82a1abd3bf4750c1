//! Files that are whole at every moment, in folders that one run has.

mod lock;

pub(crate) use lock::FolderLock;

use crate::{Error, Result};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Writes a file so that a reader sees the old one or the new one, never a part.
///
/// The bytes go to `<name>.part` beside it, which then takes its place. They are not forced onto the disk: after a power
/// cut a report may be the old one.
///
/// # Errors
///
/// [`Error::DiskFull`]; [`Error::Io`] where the folder is missing or not writable.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part(path);
    let done = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    done.map_err(|source| {
        // The first failure is the one to report; a leftover that cannot be removed either is not.
        let _ = fs::remove_file(&part);
        not_written(path, bytes, source, free_space(folder_of(path)))
    })
}

/// The error for a file that could not be written, with what is free now that nothing of it is left.
pub(crate) fn not_written(path: &Path, bytes: &[u8], source: io::Error, free: io::Result<u64>) -> Error {
    let path = path.to_owned();
    match (source.kind(), free) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, Ok(free)) => {
            Error::DiskFull { path, needed: bytes.len() as u64, free, source }
        }
        _ => Error::Io { action: "write", path, source },
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes that can still be written into a folder.
pub(crate) fn free_space(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Whether [`replace`] could begin: what a run asks before its first step about a file that it writes later.
///
/// # Errors
///
/// [`Error::Io`] where the folder is missing or not writable.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let part = part(path);
    let done = fs::write(&part, []).and_then(|()| fs::remove_file(&part));
    done.map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

/// Where the bytes of a file lie until they are whole.
fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace(&path, b"long old text").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        for path in [folder.path().join("missing/a.txt"), taken] {
            let error = replace(&path, b"new").unwrap_err();
            assert!(error.to_string().ends_with(path.to_str().unwrap()), "{error}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
