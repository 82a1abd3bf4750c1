//! Weights as safetensors, under torchvision's names.

use crate::torch::{TensorBytes, TensorFile, Variable, named_variables};
use crate::{Error, Result, files};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::ErrorKind;
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
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let opened = File::open(path).and_then(|file| file.metadata().map(|about| (file, about)));
    let (file, about) = opened.map_err(failed)?;
    if about.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    let mut file = TensorFile::open(file).map_err(|problem| weights_error(path, "the file", problem))?;
    let variables = named_variables(vs);
    let foreign = file.names().into_iter().find(|name| !variables.iter().any(|variable| variable.name == *name));
    if let Some(name) = foreign {
        return Err(weights_error(path, &name, "the model has no such variable".to_owned()));
    }
    for Variable { name, tensor, .. } in &variables {
        let failed = |problem: String| Err(weights_error(path, name, problem));
        match file.shape(name) {
            None => return failed("it is missing".to_owned()),
            Some(shape) if shape == tensor.size() => {}
            Some(shape) => return failed(format!("its shape is {shape:?}, but has to be {:?}", tensor.size())),
        }
    }
    let pairs = variables.into_iter().map(|Variable { name, tensor, .. }| {
        let new = file.read(&name).map_err(|problem| weights_error(path, &name, problem))?;
        Ok((tensor, new))
    });
    let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
    no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
    Ok(())
}

fn weights_error(path: &Path, tensor: &str, problem: String) -> Error {
    Error::Weights { path: path.to_owned(), tensor: tensor.to_owned(), problem }
}
