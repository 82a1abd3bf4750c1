//! A file of `torch.save` as a source of tensors.

use super::globals::Id;
use super::storages::Storages;
use super::values::{Pickle, Result, TensorLayout, Value};
use super::{legacy, zipped};
use crate::error::WeightsProblem;
use crate::tensor_file::{MAX_NAME, dtype_name};
use crate::weights::source::{TensorInfo, TensorSource};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use tch::{Device, Tensor};

/// Largest number of tensors that is read.
const MAX_TENSORS: usize = 1 << 16;
/// Largest depth of nested dictionaries that are searched for tensors: `{"model": {"state_dict": {…}}}`.
const MAX_DEPTH: usize = 4;

/// An open file of `torch.save`, in either of its formats.
pub(in crate::weights) struct PyTorchFile {
    tensors: BTreeMap<String, Found>,
    pickle: Pickle,
    storages: Box<dyn Storages>,
}

/// A tensor of the file.
enum Found {
    Readable(TensorLayout),
    /// A tensor that would need this function or type, which is not on the list.
    Unreadable(Id),
}

impl PyTorchFile {
    /// Opens a file that `torch.save` wrote in its format since PyTorch 1.6.
    pub fn open_zipped(file: File) -> Result<Self> {
        let (pickle, storages) = zipped::open(BufReader::new(file))?;
        Self::of(pickle, Box::new(storages))
    }

    /// Opens a file that `torch.save` wrote in its older format.
    pub fn open_legacy(file: File) -> Result<Self> {
        let (pickle, storages) = legacy::open(BufReader::new(file))?;
        Self::of(pickle, Box::new(storages))
    }

    fn of(pickle: Pickle, storages: Box<dyn Storages>) -> Result<Self> {
        let mut search = Search { pickle: &pickle, seen: HashSet::new(), tensors: BTreeMap::new(), object: None };
        search.collect(pickle.root, "", 0)?;
        let Search { tensors, object, .. } = search;
        match (pickle.get(pickle.root), object) {
            // A pickled model, for example: there may be weights in it.
            (_, Some(of)) if tensors.is_empty() => Err(WeightsProblem::NotAllowed(pickle.global_name(of))),
            (Value::Dict(_) | Value::Tensor(_), _) => Ok(PyTorchFile { tensors, pickle, storages }),
            (other, _) => {
                let problem = format!("it holds {}, and no dictionary of tensors", other.description());
                Err(WeightsProblem::Damaged(problem))
            }
        }
    }
}

/// The search for tensors in nested dictionaries.
struct Search<'a> {
    pickle: &'a Pickle,
    /// The dictionaries that were visited.
    seen: HashSet<Id>,
    tensors: BTreeMap<String, Found>,
    /// The function or type of the first object that was met.
    object: Option<Id>,
}

impl Search<'_> {
    /// Collects the tensors of a dictionary and of nested ones, under names joined by dots.
    fn collect(&mut self, id: Id, name: &str, depth: usize) -> Result<()> {
        match self.pickle.get(id) {
            Value::Tensor(layout) => {
                check(name, layout, self.pickle)?;
                self.insert(name, Found::Readable(layout.clone()))?;
            }
            &Value::Object { of, is_tensor: true } if depth > 0 => self.insert(name, Found::Unreadable(of))?,
            &Value::Object { of, .. } => self.object = self.object.or(Some(of)),
            // A dictionary that was visited before contains itself, or is in two places; its tensors have their names
            // already.
            Value::Dict(items) if depth < MAX_DEPTH && self.seen.insert(id) => {
                for &(key, value) in items {
                    let Some(key) = self.pickle.text(key) else { continue };
                    let length = name.len() + 1 + key.len();
                    if length > MAX_NAME {
                        let (what, value, limit) = ("the length of a name", length as u64, MAX_NAME as u64);
                        return Err(WeightsProblem::TooLarge { what, value, limit });
                    }
                    let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                    self.collect(value, &name, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn insert(&mut self, name: &str, found: Found) -> Result<()> {
        if self.tensors.len() == MAX_TENSORS {
            let (value, limit) = (MAX_TENSORS as u64 + 1, MAX_TENSORS as u64);
            return Err(WeightsProblem::TooLarge { what: "the number of tensors", value, limit });
        }
        match self.tensors.insert(name.to_owned(), found) {
            None => Ok(()),
            Some(_) => Err(WeightsProblem::Damaged(format!("{name} is in it twice"))),
        }
    }
}

/// Checks that all values of a tensor lie within its storage. An expanded tensor has more values than its storage, of
/// which it repeats some: a tensor is read only where its shape is that of a variable, which limits its memory.
fn check(name: &str, layout: &TensorLayout, pickle: &Pickle) -> Result<()> {
    let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
    let Some((storage, _)) = pickle.storage(layout.storage) else {
        return Err(failed("it lies in nothing".to_owned()));
    };
    let TensorLayout { offset, shape, strides, .. } = layout;
    if shape.len() != strides.len() {
        return Err(failed(format!("it has {} sizes and {} strides", shape.len(), strides.len())));
    }
    let width = |kind: tch::Kind| kind.elt_size_in_bytes() as u64;
    let len = storage.len.checked_mul(width(storage.kind)).map(|bytes| bytes / width(layout.kind));
    let values = shape.iter().try_fold(1_i64, |values, &size| values.checked_mul(size.try_into().ok()?));
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(*offset, |last, (&size, &stride)| last.checked_add(size.saturating_sub(1).checked_mul(stride)?));
    match (values, last, len) {
        (Some(0), _, _) => Ok(()),
        (Some(_), Some(last), Some(len)) if last < len => Ok(()),
        _ => Err(failed(format!(
            "its shape {shape:?}, strides {strides:?} and offset {offset} do not fit into {} values",
            storage.len
        ))),
    }
}

/// Returns the layout of a tensor; an error where there is none.
fn layout<'a>(tensors: &'a BTreeMap<String, Found>, pickle: &Pickle, name: &str) -> Result<&'a TensorLayout> {
    let problem = match tensors.get(name) {
        Some(Found::Readable(layout)) => return Ok(layout),
        Some(&Found::Unreadable(of)) => format!("it needs {}, which is not read", pickle.global_name(of)),
        None => "it is missing".to_owned(),
    };
    Err(WeightsProblem::Tensor { tensor: name.to_owned(), problem })
}

impl TensorSource for PyTorchFile {
    fn tensors(&self) -> Vec<TensorInfo> {
        let described = self.tensors.iter().map(|(name, found)| {
            let (dtype, shape) = match found {
                Found::Readable(layout) => (dtype_name(layout.kind), &layout.shape[..]),
                Found::Unreadable(_) => ("unknown".to_owned(), &[][..]),
            };
            TensorInfo { name: name.clone(), dtype, shape: shape.iter().map(|&size| size as i64).collect() }
        });
        described.collect()
    }

    fn check(&self, name: &str) -> Result<()> {
        layout(&self.tensors, &self.pickle, name).map(drop)
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
        let layout = layout(&self.tensors, &self.pickle, name)?;
        let (storage, key) = self.pickle.storage(layout.storage).expect("it was checked");
        let sizes = |numbers: &[u64]| numbers.iter().map(|&number| number as i64).collect::<Vec<_>>();
        let (shape, strides) = (sizes(&layout.shape), sizes(&layout.strides));
        if shape.contains(&0) {
            return Ok(Tensor::zeros(&shape, (layout.kind, Device::Cpu)));
        }
        let width = layout.kind.elt_size_in_bytes() as u64;
        // From its first value to its last one, which is in the storage: nothing overflows.
        let values =
            layout.shape.iter().zip(&layout.strides).map(|(&size, &stride)| (size - 1) * stride).sum::<u64>() + 1;
        let length = storage.len * storage.kind.elt_size_in_bytes() as u64;
        let bytes = self.storages.read(key, length, layout.offset * width..(layout.offset + values) * width)?;
        let part = Tensor::f_from_data_size(&bytes, &[values as i64], layout.kind);
        let own = part.and_then(|part| part.f_as_strided(&shape, &strides, 0)?.f_contiguous());
        let own = own.and_then(|own| if layout.negated { own.f_neg() } else { Ok(own) });
        own.map_err(|error| failed(error.to_string()))
    }
}
