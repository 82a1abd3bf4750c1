//! A file of weights, whichever format it has.

#[cfg(feature = "pth")]
use super::pytorch::PyTorchFile;
use crate::error::WeightsProblem;
use crate::torch::TensorFile;
use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Seek};
use std::path::Path;
use tch::Tensor;

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// The kind of its numbers, such as "Float".
    pub kind: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

/// An open file of tensors.
pub(super) trait TensorSource {
    /// Those that are in it, by name.
    fn tensors(&self) -> Vec<TensorInfo>;

    /// One of them, on the CPU.
    fn read(&mut self, name: &str) -> Result<Tensor, WeightsProblem>;
}

/// Opens a file by what it begins with, whatever its name is.
pub(super) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let problem = |problem| Error::Weights { path: path.to_owned(), problem };
    let opened = File::open(path).and_then(|file| file.metadata().map(|about| (file, about)));
    let (mut file, about) = opened.map_err(failed)?;
    if about.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    #[cfg(feature = "pth")]
    if let Some(file) = PyTorchFile::open(file.try_clone().map_err(failed)?).map_err(problem)? {
        return Ok(Box::new(file));
    }
    file.rewind().map_err(failed)?;
    Ok(Box::new(TensorFile::open(file).map_err(|text| problem(WeightsProblem::Damaged(text)))?))
}

impl TensorSource for TensorFile<File> {
    fn tensors(&self) -> Vec<TensorInfo> {
        let info = |name: String| TensorInfo {
            kind: self.kind(&name).unwrap_or_default(),
            shape: self.shape(&name).unwrap_or_default(),
            name,
        };
        self.names().into_iter().map(info).collect()
    }

    fn read(&mut self, name: &str) -> Result<Tensor, WeightsProblem> {
        let failed = |problem| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
        TensorFile::read(self, name).map_err(failed)
    }
}
