//! The reader. It trusts nothing: neither the header, nor the file's end, nor its name.

use super::IdxArray;
use super::header::Header;
use crate::data::gzip::{Content, read_up_to};
use crate::error::IdxProblem;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdxLimits {
    /// The most bytes of data, decompressed. Default 2 GiB.
    pub max_bytes: u64,
}

impl Default for IdxLimits {
    fn default() -> Self {
        IdxLimits { max_bytes: 2 << 30 }
    }
}

impl IdxLimits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        with_max_bytes => max_bytes: u64,
    }
}

/// Reads an IDX file, plain or gzip-compressed (told apart by content, not by name), of at most 2 GiB of data.
///
/// The file may come from anywhere: what is wrong with it is an error, never a panic, and the memory used follows the data
/// that is there, not what the header promises. It has to end where its data end, and checksums have to be right.
///
/// # Errors
///
/// [`Error::Io`], [`Error::DamagedGzip`], [`Error::Idx`].
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("labels-idx1-ubyte");
/// std::fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]).unwrap();
/// let labels = densenet::data::read_idx(&path)?;
/// assert_eq!(labels.shape(), [3]);
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn read_idx(path: impl AsRef<Path>) -> Result<IdxArray> {
    let path = path.as_ref();
    IdxArray::from_reader(open(path)?, path, IdxLimits::default())
}

impl IdxArray {
    /// Reads IDX data, plain or gzip-compressed, to the reader's end. Errors name `path`, which is not opened.
    ///
    /// # Errors
    ///
    /// As [`read_idx`].
    pub fn from_reader(reader: impl Read, path: &Path, limits: IdxLimits) -> Result<Self> {
        read(reader, limits, &mut |_| ()).map_err(|failure| failure.at(path))
    }
}

/// Reads a file, and the SHA-256 of its decompressed content, header included, in lower-case hexadecimal digits.
pub(crate) fn read_idx_with_digest(path: &Path, limits: IdxLimits) -> Result<(IdxArray, String)> {
    let mut digest = Sha256::new();
    let array = read(open(path)?, limits, &mut |bytes| digest.update(bytes)).map_err(|failure| failure.at(path))?;
    Ok((array, digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::Io { action: "open", path: path.to_owned(), source })
}

/// A failure that does not yet know of which file.
pub(super) enum Failure {
    Problem(IdxProblem),
    Gzip(io::Error),
    Io(io::Error),
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Failure::Problem(problem) => Error::Idx { path, problem },
            Failure::Gzip(source) => Error::DamagedGzip { path, source },
            Failure::Io(source) => Error::Io { action: "read", path, source },
        }
    }
}

impl From<IdxProblem> for Failure {
    fn from(problem: IdxProblem) -> Self {
        Failure::Problem(problem)
    }
}

/// Reads everything; `seen` gets each byte of the decompressed content once, in order.
fn read(reader: impl Read, limits: IdxLimits, seen: &mut dyn FnMut(&[u8])) -> Result<IdxArray, Failure> {
    let mut content = Content::new(reader).map_err(Failure::Io)?;
    let is_gzip = content.is_gzip();
    // The decompressor's own errors come without a number of the operating system.
    let failure = |error: io::Error| match is_gzip && error.raw_os_error().is_none() {
        true => Failure::Gzip(error),
        false => Failure::Io(error),
    };
    let mut fill = |buffer: &mut [u8]| -> Result<usize, Failure> {
        let count = read_up_to(&mut content, buffer).map_err(failure)?;
        seen(&buffer[..count]);
        Ok(count)
    };
    let header = Header::read(&mut fill)?;
    let array = header.data(limits, &mut fill)?;
    // Reading on to the end also makes the decompressor compare checksum and length.
    if fill(&mut [0])? != 0 {
        return Err(IdxProblem::TrailingBytes { expected: header.bytes(limits)? }.into());
    }
    match content.after_end().map_err(failure)? {
        Some(problem) => Err(problem.into()),
        None => Ok(array),
    }
}
