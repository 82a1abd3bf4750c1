//! Atomic replacement of files, and folders that are on the disk and belong to one run.

mod disk;
mod folder;
mod lock;

#[cfg(test)]
pub(crate) use disk::ReadSeek;
pub(crate) use disk::{Disk, RealDisk};
pub(crate) use folder::{create_folder, create_new_folder};
pub(crate) use lock::FolderLock;

use crate::error::IoError;
use crate::{Error, Result};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes a file atomically: a reader sees the old file or the new one, never a part, also after a kill or a power cut.
/// When it returns, the new file is on the disk.
///
/// # Errors
///
/// [`IoError::DiskFull`]; [`IoError::Failed`] where the folder is missing or not writable. The old file is unchanged
/// then, except where it was only the last sync, of the folder, that failed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_on(&RealDisk, path, bytes)
}

/// Replaces a file as [`replace`] does, with the file operations of `disk`.
///
/// The bytes go to a temporary file of this call alone in the same folder, are forced onto the disk and get their name;
/// then the folder is forced onto the disk. This is written out here and not left to a library, so that tests can make
/// each of these operations fail, and cut the power after each.
pub(crate) fn replace_on(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    let written = disk.write_new(&temporary, bytes).and_then(|()| disk.sync(&temporary));
    if let Err(source) = written.and_then(|()| disk.rename(&temporary, path)) {
        // The first error is the one to report.
        let _ = disk.remove(&temporary);
        return Err(not_written(path, bytes, source, disk.free(folder_of(path))));
    }
    // The file is complete, but not yet certain to exist after a power cut.
    disk.sync(folder_of(path)).map_err(Error::io("write", path))
}

/// Returns the error of a file that could not be written, with the free space after its removal.
fn not_written(path: &Path, bytes: &[u8], source: io::Error, free: io::Result<u64>) -> Error {
    let path = path.to_owned();
    match (source.kind(), free) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, Ok(free)) => {
            Error::Io(IoError::DiskFull { path, needed: bytes.len() as u64, free, source })
        }
        _ => Error::Io(IoError::Failed { action: "write", path, source }),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that [`replace`] can write a file, which a run does before its first step for the files that it writes later.
/// Removes temporary files of killed processes.
///
/// # Errors
///
/// [`IoError::Failed`] where the folder is missing or not writable.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    remove_old_temporaries(path);
    let temporary = temporary(path);
    let done = RealDisk.write_new(&temporary, &[]).and_then(|()| RealDisk.remove(&temporary));
    done.map_err(Error::io("write", path))
}

/// The text between the name of a file and the unique part of its temporary file's name.
const TEMPORARY: &str = ".tmp-";

/// Returns a new path for the temporary file of a file: `.<name>.tmp-<process>-<random>`.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A new `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(());
    path.with_file_name(format!(".{name}{TEMPORARY}{}-{random:016x}", std::process::id()))
}

/// Returns the name of the file that a temporary file of this name belongs to; `None` for all other names.
pub(crate) fn target_of_temporary(name: &str) -> Option<&str> {
    Some(name.strip_prefix('.')?.rsplit_once(TEMPORARY)?.0)
}

/// Removes a file's temporary files of killed processes: those that are older than a day.
pub(crate) fn remove_old_temporaries(path: &Path) {
    // No file takes longer to write.
    let old = Duration::from_secs(24 * 60 * 60);
    // Files that cannot be listed or removed do no harm.
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let target = name.to_str().and_then(target_of_temporary);
        let modified = || entry.metadata().and_then(|data| data.modified());
        if target.is_some_and(|target| path.file_name().is_some_and(|name| name == target))
            && modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > old))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        replace(&path, b"long old text").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        for path in [folder.path().join("missing/a.txt"), taken] {
            let error = replace(&path, b"new").unwrap_err();
            assert!(error.to_string().ends_with(path.to_str().unwrap()), "{error}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn many_writers_of_one_file_leave_one_complete_file_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        // Of different lengths, so that a mixture of two is noticed.
        let content = |writer: u8| vec![writer; 1 << (10 + writer)];
        replace(&path, &content(0)).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let path = &path;
                scope.spawn(move || (0..40).for_each(|_| replace(path, &content(writer)).unwrap()));
            }
            scope.spawn(|| {
                for _ in 0..500 {
                    let bytes = fs::read(&path).unwrap();
                    assert!(bytes == content(bytes[0]), "{} bytes of writer {}", bytes.len(), bytes[0]);
                }
            });
        });
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
