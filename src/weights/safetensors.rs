//! Weights in the safetensors format, read under any names and written under torchvision's.

use super::source::{TensorInfo, TensorSource};
use crate::error::WeightsProblem;
use crate::tensor_file::{TensorBytes, TensorFile};
use crate::torch::{all_finite, named_variables};
use crate::{Error, Result, files};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use tch::Tensor;
use tch::nn::VarStore;

/// Writes all variables, parameters and running statistics, to a safetensors file. torchvision's `load_state_dict`
/// accepts the file in strict mode where the network is one of torchvision's.
///
/// The file is replaced atomically: a reader sees the old file or the complete new one. Equal variables give equal
/// bytes.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be written; [`Error::Weights`] for a variable of a dtype that safetensors does
/// not have.
///
/// # Examples
///
/// ```
/// use densenet::DenseNetConfig;
/// use densenet::tch::{Device, nn::VarStore};
/// use densenet::weights::{inspect, save_safetensors};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("densenet.safetensors");
/// let vs = VarStore::new(Device::Cpu);
/// DenseNetConfig::new(10).with_growth_rate(8).with_layers_per_block([2, 2]).build(&vs.root())?;
/// save_safetensors(&vs, &path)?;
/// assert_eq!(inspect(&path)?.len(), vs.variables().len());
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn save_safetensors(vs: &VarStore, path: impl AsRef<Path>) -> Result<()> {
    save_with_metadata(vs, path.as_ref(), BTreeMap::new())
}

/// Does the same as [`save_safetensors`], with further entries in the file's metadata.
pub(crate) fn save_with_metadata(vs: &VarStore, path: &Path, metadata: BTreeMap<String, String>) -> Result<()> {
    let failed = |tensor: &str, problem: &dyn Display| {
        let problem = WeightsProblem::Tensor { tensor: tensor.to_owned(), problem: problem.to_string() };
        Error::Weights { path: path.to_owned(), problem }
    };
    let entries = named_variables(vs).into_iter().map(|variable| {
        if !all_finite(&[&variable.tensor])? {
            return Err(failed(&variable.name, &"it has values that are not finite"));
        }
        let entry = TensorBytes::of(&variable.tensor).map_err(|problem| failed(&variable.name, &problem))?;
        Ok((variable.name, entry))
    });
    let entries: BTreeMap<String, TensorBytes> = entries.collect::<Result<_>>()?;
    let mut metadata = metadata;
    // PyTorch's readers look for this entry.
    metadata.insert("format".to_owned(), "pt".to_owned());
    let unsorted: HashMap<String, String> = metadata.clone().into_iter().collect();
    let mut bytes = ::safetensors::serialize(entries, Some(unsorted)).map_err(|error| failed("the file", &error))?;
    sort_metadata(&mut bytes, &metadata);
    files::replace(path, &bytes)
}

/// Writes the metadata of a file in the order of its keys: the crate `safetensors` writes it in that of a hash map,
/// which changes from run to run.
fn sort_metadata(file: &mut [u8], metadata: &BTreeMap<String, String>) {
    let sorted = json!(metadata).to_string();
    let start = 8 + br#"{"__metadata__":"#.len();
    file[start..start + sorted.len()].copy_from_slice(sorted.as_bytes());
}

impl TensorSource for TensorFile<File> {
    fn tensors(&self) -> Vec<TensorInfo> {
        let info = |name: String| TensorInfo {
            dtype: self.dtype(&name).unwrap_or_default(),
            shape: self.shape(&name).unwrap_or_default(),
            name,
        };
        self.names().into_iter().map(info).collect()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        TensorFile::metadata(self, key)
    }

    fn read(&mut self, name: &str) -> Result<Tensor, WeightsProblem> {
        let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
        TensorFile::read(self, name).map_err(|problem| failed(problem.to_string()))
    }
}
