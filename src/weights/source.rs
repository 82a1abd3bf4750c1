//! The interface of a weight format: what a file holds, and its tensors one by one.

use crate::error::{WeightsProblem, escaped};
use std::fmt;
use tch::Tensor;

/// The description of one tensor in a file.
///
/// As text it is the tensor's dtype, shape and name, whose control characters are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name of the tensor in the file; in a file of nested dictionaries their keys joined by dots.
    pub name: String,
    /// Dtype of the tensor's values, such as "f32", "bf16" or "i64"; "unknown" for a tensor that is not read, such as a
    /// sparse one.
    pub dtype: String,
    /// Sizes of the dimensions; empty for a scalar.
    pub shape: Vec<i64>,
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:7} {:20} {}", self.dtype, format!("{:?}", self.shape), escaped(&self.name))
    }
}

/// An open file of tensors. A weight format implements it, and `open` recognizes the format.
pub(super) trait TensorSource {
    /// Describes all tensors of the file.
    fn tensors(&self) -> Vec<TensorInfo>;

    /// Returns the value of a key of the file's metadata; `None` where the file has no such key.
    fn metadata(&self, _key: &str) -> Option<&str> {
        None
    }

    /// Checks by its description that a tensor can be read; an error of a tensor that cannot says why.
    fn check(&self, _name: &str) -> Result<(), WeightsProblem> {
        Ok(())
    }

    /// Reads one tensor to the CPU, with the dtype that it has in the file.
    fn read(&mut self, name: &str) -> Result<Tensor, WeightsProblem>;
}
