//! Opens a file of weights in whichever format it has.

#[cfg(feature = "pth")]
use super::pytorch::PyTorchFile;
use super::source::TensorSource;
use crate::error::{IoError, WeightsProblem};
use crate::tensor_file::TensorFile;
use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Seek};
use std::path::Path;

/// Opens a file by the bytes that it begins with; its name does not matter.
pub(super) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    let io = |source| Error::Io(IoError::Failed { action: "read", path: path.to_owned(), source });
    let weights = |problem| Error::Weights { path: path.to_owned(), problem };
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (mut file, metadata) = opened.map_err(io)?;
    if metadata.is_dir() {
        return Err(io(ErrorKind::IsADirectory.into()));
    }
    #[cfg(feature = "pth")]
    if let Some(file) = PyTorchFile::open(file.try_clone().map_err(io)?).map_err(weights)? {
        return Ok(Box::new(file));
    }
    file.rewind().map_err(io)?;
    let file = TensorFile::open(file).map_err(|problem| weights(WeightsProblem::Damaged(problem.to_string())))?;
    Ok(Box::new(file))
}
