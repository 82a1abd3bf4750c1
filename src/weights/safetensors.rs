//! Weights as safetensors, under torchvision's names.

use crate::torch::{TensorBytes, from_view, named_variables};
use crate::{Error, Result, files};
use safetensors::tensor::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use tch::nn::VarStore;
use tch::no_grad;

/// Writes all variables, parameters and running statistics, to a file that a reader sees whole or not at all. Equal
/// variables give equal bytes.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] for a variable of a kind that the format does not have.
pub fn save_safetensors(vs: &VarStore, path: &Path) -> Result<()> {
    let entries = named_variables(vs).into_iter().map(|variable| {
        let entry =
            TensorBytes::of(&variable.tensor).map_err(|problem| weights_error(path, &variable.name, problem))?;
        Ok((variable.name, entry))
    });
    let entries: BTreeMap<String, TensorBytes> = entries.collect::<Result<_>>()?;
    // PyTorch's readers look for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(entries, Some(metadata))
        .map_err(|error| weights_error(path, "the file", error.to_string()))?;
    files::replace(path, &bytes)
}

/// Copies all variables from a file. Names and shapes have to be exactly those of `vs`: everything is loaded, or nothing
/// and an error. Values of another kind, such as half precision, are converted to the variable's kind.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] naming the first tensor that does not fit.
pub fn load_safetensors(vs: &mut VarStore, path: &Path) -> Result<()> {
    let bytes = fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| weights_error(path, "the file", error.to_string()))?;
    let variables = named_variables(vs);
    for name in file.names() {
        if !variables.iter().any(|variable| variable.name == *name) {
            return Err(weights_error(path, name, "the model has no such variable".to_owned()));
        }
    }
    let mut pairs = Vec::with_capacity(variables.len());
    for variable in variables {
        let failed = |problem: String| weights_error(path, &variable.name, problem);
        let view = file.tensor(&variable.name).map_err(|_| failed("it is missing".to_owned()))?;
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        if shape != variable.tensor.size() {
            return Err(failed(format!("its shape is {shape:?}, but has to be {:?}", variable.tensor.size())));
        }
        let tensor = from_view(&view).map_err(failed)?;
        pairs.push((variable.tensor, tensor));
    }
    no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
    Ok(())
}

fn weights_error(path: &Path, tensor: &str, problem: String) -> Error {
    Error::Weights { path: path.to_owned(), tensor: tensor.to_owned(), problem }
}
