//! Weights out, as safetensors under torchvision's names.

use crate::error::WeightsProblem;
use crate::torch::{TensorBytes, named_variables};
use crate::{Error, Result, files};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tch::nn::VarStore;

/// Writes all variables, parameters and running statistics, to a file that a reader sees whole or not at all. Equal
/// variables give equal bytes. torchvision's `load_state_dict` takes them strictly, where the network is one of its own.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] for a variable of a kind that the format does not have.
pub fn save_safetensors(vs: &VarStore, path: &Path) -> Result<()> {
    let failed = |tensor: &str, problem| {
        let problem = WeightsProblem::Tensor { tensor: tensor.to_owned(), problem };
        Error::Weights { path: path.to_owned(), problem }
    };
    let entries = named_variables(vs).into_iter().map(|variable| {
        let entry = TensorBytes::of(&variable.tensor).map_err(|problem| failed(&variable.name, problem))?;
        Ok((variable.name, entry))
    });
    let entries: BTreeMap<String, TensorBytes> = entries.collect::<Result<_>>()?;
    // PyTorch's readers look for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes =
        safetensors::serialize(entries, Some(metadata)).map_err(|error| failed("the file", error.to_string()))?;
    files::replace(path, &bytes)
}
