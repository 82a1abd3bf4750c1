//! The interface of a weight format: what a file holds, and its tensors one by one.

use crate::error::WeightsProblem;
use tch::Tensor;

/// The description of one tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name of the tensor in the file; in a file of nested dictionaries their keys joined by dots.
    pub name: String,
    /// Dtype of the tensor's values, such as "f32", "bf16" or "i64".
    pub dtype: String,
    /// Sizes of the dimensions; empty for a scalar.
    pub shape: Vec<i64>,
}

/// An open file of tensors. A weight format implements it, and `open` recognizes the format.
pub(super) trait TensorSource {
    /// Describes all tensors of the file.
    fn tensors(&self) -> Vec<TensorInfo>;

    /// Reads one tensor to the CPU, with the dtype that it has in the file.
    fn read(&mut self, name: &str) -> Result<Tensor, WeightsProblem>;
}
