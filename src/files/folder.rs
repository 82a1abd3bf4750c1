//! Creation of folders that survive a power cut.

use super::{Disk, RealDisk, folder_of};
use crate::{Error, Result};
use std::io::{self, ErrorKind};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Creates a folder, and those above it that are missing. When it returns, all of them are on the disk.
///
/// # Errors
///
/// [`IoError::Failed`](crate::error::IoError::Failed), also where a file has the name.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    create_missing(&RealDisk, folder).map_err(Error::io("create the folder", folder))
}

/// Creates a folder in an existing one, and returns false where something has that name already. When it returns, the
/// new folder is on the disk.
///
/// # Errors
///
/// [`IoError::Failed`](crate::error::IoError::Failed).
pub(crate) fn create_new_folder(folder: &Path) -> Result<bool> {
    match create(&RealDisk, folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        created => created.map(|()| true).map_err(Error::io("create the folder", folder)),
    }
}

fn create_missing(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    if disk.is_folder(folder) {
        // A process that was killed, or whose sync failed, may have created it. All above it are on the disk, since each
        // folder is before the next is created. Where it belongs to another user, the folder above it may be unreadable.
        let _ = disk.sync(folder_of(folder));
        return Ok(());
    }
    folder.parent().map_or(Ok(()), |parent| create_missing(disk, parent))?;
    match create(disk, folder) {
        // Another process may have created it in the meantime.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && disk.is_folder(folder) => Ok(()),
        created => created,
    }
}

/// Creates one folder, and forces the entry in the folder above it onto the disk.
fn create(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    disk.create_folder(folder)?;
    disk.sync(folder_of(folder))
}
