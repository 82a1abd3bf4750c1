//! The file calls that a save consists of.

use crate::files::free_space;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// What a [`Store`](super::Store) asks of a disk, so that tests can let each call fail.
pub trait Disk {
    /// A file that is read.
    type File: Read + Seek;

    /// Makes a file that is not there yet, and writes it.
    ///
    /// # Errors
    ///
    /// The operating system's; then the file may be there with a part of the bytes.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Waits until a file's content, or a folder's entries, are on the disk.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in its folder, in place of whatever has that name.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a file to read it.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// The names of a folder's files.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Bytes that can still be written into a folder.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn free(&self, folder: &Path) -> io::Result<u64>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        free_space(folder)
    }
}
