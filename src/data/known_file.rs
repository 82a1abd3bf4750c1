//! Files with a known digest, so that damaged and wrong files are detected.

use super::idx::IdxArray;
use crate::error::DataError;
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;

/// An IDX file with a known digest.
///
/// The digest is of the decompressed content: distributors compress anew, so that the bytes of the `.gz` differ.
#[derive(Clone, Debug)]
pub(super) struct KnownFile {
    /// The name without `.gz`, such as `train-images-idx3-ubyte`.
    pub name: &'static str,
    /// The length of the decompressed content in bytes.
    #[cfg_attr(not(feature = "download"), expect(dead_code, reason = "it limits a download"))]
    pub bytes: u64,
    /// The SHA-256 of the decompressed content, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

impl KnownFile {
    /// Reads the content of a file and checks that it is this one. Errors name `path`, which is not opened.
    pub fn read(&self, reader: impl Read, path: &Path, dataset: &str) -> Result<IdxArray> {
        let (array, actual) = IdxArray::read_with_digest(reader, path)?;
        if actual == self.sha256 {
            return Ok(array);
        }
        let (path, name, dataset) = (path.to_owned(), self.name.to_owned(), dataset.to_owned());
        Err(Error::Data(DataError::OtherContent { path, name, dataset, expected: self.sha256.to_owned(), actual }))
    }
}
