//! The storages of a file of `torch.save`: the memory that its tensors lie in.

use super::values::Result;
use crate::error::WeightsProblem;
use std::io::Read;
use std::ops::Range;

/// Largest pickle, in bytes, that is read.
pub(super) const MAX_PICKLE: u64 = 16 << 20;

/// Access to the bytes of a file's storages, in either format.
pub(super) trait Storages {
    /// Reads the bytes of `range` in the storage `key`, which has to have `length` bytes in all.
    fn read(&mut self, key: &str, length: u64, range: Range<u64>) -> Result<Vec<u8>>;
}

/// Reads `bytes` bytes of the storage `key`. Memory grows with the size of the file, not with the number that it
/// declares.
pub(super) fn read_exactly(reader: &mut impl Read, bytes: u64, key: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    match reader.take(bytes).read_to_end(&mut all) {
        Ok(read) if read as u64 == bytes => Ok(all),
        Ok(read) => Err(WeightsProblem::Damaged(format!("storage {key} has {read} bytes, but should have {bytes}"))),
        Err(error) => Err(WeightsProblem::Damaged(format!("storage {key}: {error}"))),
    }
}
