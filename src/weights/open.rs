//! Opens a file of weights in whichever format it has.

use super::looks_like::{HEAD, looks_like};
#[cfg(feature = "pth")]
use super::pytorch::{PyTorchFile, is_legacy};
use super::source::TensorSource;
use crate::error::{IoError, WeightsProblem};
use crate::tensor_file::{TensorFile, signs_of_safetensors};
use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::Path;

/// Opens a file by the bytes that it begins with; its name does not matter.
pub(super) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    let io = |source| Error::Io(IoError::Failed { action: "read", path: path.to_owned(), source });
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (mut file, metadata) = opened.map_err(io)?;
    if metadata.is_dir() {
        return Err(io(ErrorKind::IsADirectory.into()));
    }
    let mut head = Vec::new();
    let read = file.by_ref().take(HEAD).read_to_end(&mut head).and_then(|_| file.rewind());
    read.map_err(io)?;
    of_format(file, &head).map_err(|problem| Error::Weights { path: path.to_owned(), problem })
}

/// Opens a file that begins with these bytes.
fn of_format(file: File, head: &[u8]) -> Result<Box<dyn TensorSource>, WeightsProblem> {
    #[cfg(feature = "pth")]
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Box::new(PyTorchFile::open_zipped(file)?));
    } else if is_legacy(head) {
        return Ok(Box::new(PyTorchFile::open_legacy(file)?));
    }
    if head.is_empty() {
        return Err(WeightsProblem::Damaged("it is empty".to_owned()));
    }
    match (signs_of_safetensors(head), looks_like(head)) {
        // A text, for example, whose first bytes would be the length of a very long header.
        ([true, true], _) | ([true, false] | [false, true], None) => {}
        // It ends within the length.
        ([false, false], None) if head.len() <= 8 => {}
        (_, looks_like) => return Err(WeightsProblem::Format { looks_like }),
    }
    let file = TensorFile::open(file).map_err(|problem| WeightsProblem::Damaged(problem.to_string()))?;
    Ok(Box::new(file))
}
