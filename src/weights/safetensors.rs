//! Weights as safetensors, under torchvision's names.

use crate::torch::named_variables;
use crate::{Error, Result, files};
use safetensors::tensor::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

/// Writes all variables, parameters and running statistics, to a file that a reader sees whole or not at all. Equal
/// variables give equal bytes.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] for a variable of a kind that the format does not have.
pub fn save_safetensors(vs: &VarStore, path: &Path) -> Result<()> {
    let entries = named_variables(vs).into_iter().map(|variable| {
        let entry = Entry::of(&variable.tensor).map_err(|problem| weights_error(path, &variable.name, problem))?;
        Ok((variable.name, entry))
    });
    let entries: BTreeMap<String, Entry> = entries.collect::<Result<_>>()?;
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
        let failed = |problem| weights_error(path, &variable.name, problem);
        let view = file.tensor(&variable.name).map_err(|_| failed("it is missing".to_owned()))?;
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        if shape != variable.tensor.size() {
            return Err(failed(format!("its shape is {shape:?}, but has to be {:?}", variable.tensor.size())));
        }
        let kind = kind(view.dtype()).ok_or_else(|| failed(format!("its type {:?} is not supported", view.dtype())))?;
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|error| failed(error.to_string()))?;
        pairs.push((variable.tensor, tensor));
    }
    no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
    Ok(())
}

/// A tensor's bytes in the order of its shape.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Entry {
    fn of(tensor: &Tensor) -> Result<Self, String> {
        let dtype = dtype(tensor.kind()).ok_or_else(|| format!("safetensors has no {:?}", tensor.kind()))?;
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(|error| error.to_string())?;
        Ok(Entry { dtype, shape: tensor.size().into_iter().map(|size| size as usize).collect(), bytes })
    }
}

impl View for Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

const KINDS: [(Kind, Dtype); 5] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
];

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|pair| pair.0 == kind).map(|pair| pair.1)
}

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|pair| pair.1 == dtype).map(|pair| pair.0)
}

fn weights_error(path: &Path, tensor: &str, problem: String) -> Error {
    Error::Weights { path: path.to_owned(), tensor: tensor.to_owned(), problem }
}
