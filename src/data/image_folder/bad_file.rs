//! Files that are no images, and the beginnings of files, which show it.

use crate::data::Pixels;
use crate::error::DataError;
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that cannot be used as an image.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadFile {
    /// Path of the file.
    pub path: PathBuf,
    /// What is wrong with the file.
    pub problem: String,
}

impl BadFile {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        BadFile { path: path.to_owned(), problem: problem.into() }
    }
}

/// Returns the bytes of a file, of which one more than the limit of images are read at most.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    read_at_most(path, LIMIT + 1)
}

/// Returns the first bytes of a file, which is not empty.
fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, BadFile> {
    let failed = |error: io::Error| BadFile::new(path, format!("it cannot be read: {error}"));
    // Opening something else, such as a pipe, may wait for ever.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(BadFile::new(path, "it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(limit.min(metadata.len() + 1) as usize);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.is_empty() {
        return Err(BadFile::new(path, "it is empty"));
    }
    Ok(bytes)
}

/// Checks by its first bytes that a file is of a format that is read.
pub(super) fn check_beginning(path: &Path) -> Result<(), BadFile> {
    Pixels::check_format(&read_at_most(path, 16)?).map_err(|error| bad(path, &error))
}

/// Returns height and width of the image in a file.
pub(super) fn size(path: &Path) -> Result<[usize; 2], BadFile> {
    Pixels::size_in(&read(path)?).map_err(|error| bad(path, &error))
}

/// Names a file in the error of its decoder.
pub(super) fn bad(path: &Path, error: &Error) -> BadFile {
    match error {
        Error::Data(DataError::Image { problem }) => BadFile::new(path, problem.clone()),
        other => BadFile::new(path, other.with_causes()),
    }
}

/// Largest file in bytes, which the decoder has too.
const LIMIT: u64 = 64 << 20;
