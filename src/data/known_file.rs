//! Files whose content is known, so that a damaged or a wrong one is noticed.

use super::IdxArray;
use super::idx::{IdxLimits, read_idx_with_digest};
use crate::{Error, Result};
use std::path::Path;

/// An IDX file of which the content is known.
///
/// The digest is of the decompressed content: distributors compress anew, so that the bytes of the `.gz` differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The name without `.gz`, such as `train-images-idx3-ubyte`.
    pub name: String,
    /// The length of the decompressed content in bytes.
    pub bytes: u64,
    /// The SHA-256 of the decompressed content, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl KnownFile {
    /// Reads a file and checks that it is this one.
    pub(super) fn read(&self, path: &Path, dataset: &str) -> Result<IdxArray> {
        let (array, actual) = read_idx_with_digest(path, IdxLimits::default())?;
        if actual == self.sha256 {
            return Ok(array);
        }
        let (path, name, dataset) = (path.to_owned(), self.name.clone(), dataset.to_owned());
        Err(Error::OtherContent { path, name, dataset, expected: self.sha256.clone(), actual })
    }
}
