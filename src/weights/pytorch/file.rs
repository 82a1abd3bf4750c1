//! A file of `torch.save` as a source of tensors.

use super::opcodes as op;
use super::storages::Storages;
use super::values::{Id, Pickle, Result, TensorLayout, Value};
use super::{legacy, zipped};
use crate::error::WeightsProblem;
use crate::tensor_file::{MAX_NAME, dtype_name};
use crate::weights::source::{TensorInfo, TensorSource};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use tch::{Device, Tensor};

/// Largest number of tensors that is read.
const MAX_TENSORS: usize = 1 << 16;
/// Largest depth of nested dictionaries that are searched for tensors: `{"model": {"state_dict": {…}}}`.
const MAX_DEPTH: usize = 4;

/// An open file of `torch.save`, in either of its formats.
pub(in crate::weights) struct PyTorchFile {
    tensors: BTreeMap<String, TensorLayout>,
    pickle: Pickle,
    storages: Box<dyn Storages>,
}

impl PyTorchFile {
    /// Opens a file that begins with the bytes of either format; `None` for another one.
    pub fn open(mut file: File) -> Result<Option<Self>> {
        let mut head = Vec::new();
        let failed = |error: std::io::Error| WeightsProblem::Damaged(error.to_string());
        file.by_ref().take(4).read_to_end(&mut head).and_then(|_| file.rewind()).map_err(failed)?;
        let (pickle, storages): (Pickle, Box<dyn Storages>) = match &head[..] {
            b"PK\x03\x04" => {
                let (pickle, storages) = zipped::open(BufReader::new(file))?;
                (pickle, Box::new(storages))
            }
            // A pickle of protocol 2 that begins with a long integer.
            [op::PROTO, 2, op::LONG1, _] => {
                let (pickle, storages) = legacy::open(BufReader::new(file))?;
                (pickle, Box::new(storages))
            }
            _ => return Ok(None),
        };
        let mut tensors = BTreeMap::new();
        let mut seen = HashSet::new();
        collect(&pickle, pickle.root, "", 0, &mut seen, &mut tensors)?;
        tensors.iter().try_for_each(|(name, layout)| check(name, layout, &pickle))?;
        Ok(Some(PyTorchFile { tensors, pickle, storages }))
    }
}

/// Collects the tensors of a dictionary and of nested ones, under names joined by dots.
fn collect(
    pickle: &Pickle,
    id: Id,
    name: &str,
    depth: usize,
    seen: &mut HashSet<Id>,
    tensors: &mut BTreeMap<String, TensorLayout>,
) -> Result<()> {
    match pickle.get(id) {
        Value::Tensor(layout) => {
            if tensors.len() == MAX_TENSORS {
                let (value, limit) = (MAX_TENSORS as u64 + 1, MAX_TENSORS as u64);
                return Err(WeightsProblem::TooLarge { what: "the number of tensors", value, limit });
            }
            if tensors.insert(name.to_owned(), layout.clone()).is_some() {
                return Err(WeightsProblem::Damaged(format!("{name} is in it twice")));
            }
        }
        // A dictionary that was visited before contains itself, or is in two places; its tensors have their names
        // already.
        Value::Dict(items) if depth < MAX_DEPTH && seen.insert(id) => {
            for &(key, value) in items {
                let Some(key) = pickle.text(key) else { continue };
                let length = name.len() + 1 + key.len();
                if length > MAX_NAME {
                    let (what, value, limit) = ("the length of a name", length as u64, MAX_NAME as u64);
                    return Err(WeightsProblem::TooLarge { what, value, limit });
                }
                let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                collect(pickle, value, &name, depth + 1, seen, tensors)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Checks that all values of a tensor lie within its storage, and that it has no more values than the storage.
fn check(name: &str, layout: &TensorLayout, pickle: &Pickle) -> Result<()> {
    let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
    let Some((storage, _)) = pickle.storage(layout.storage) else {
        return Err(failed("it lies in nothing".to_owned()));
    };
    let TensorLayout { offset, shape, strides, .. } = layout;
    if shape.len() != strides.len() {
        return Err(failed(format!("it has {} sizes and {} strides", shape.len(), strides.len())));
    }
    let values = shape.iter().try_fold(1_u64, |values, &size| values.checked_mul(size));
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(*offset, |last, (&size, &stride)| last.checked_add(size.saturating_sub(1).checked_mul(stride)?));
    match (values, last) {
        (Some(0), _) => Ok(()),
        // A tensor with more values than its storage repeats some, and a few bytes could fill any memory.
        (Some(values), Some(last)) if last < storage.len && values <= storage.len => Ok(()),
        _ => Err(failed(format!(
            "its shape {shape:?}, strides {strides:?} and offset {offset} do not fit into {} values",
            storage.len
        ))),
    }
}

impl TensorSource for PyTorchFile {
    fn tensors(&self) -> Vec<TensorInfo> {
        let described = self.tensors.iter().map(|(name, layout)| {
            let (storage, _) = self.pickle.storage(layout.storage).expect("it was checked");
            let shape = layout.shape.iter().map(|&size| size as i64).collect();
            TensorInfo { name: name.clone(), dtype: dtype_name(storage.kind), shape }
        });
        described.collect()
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
        let layout = self.tensors.get(name).ok_or_else(|| failed("it is missing".to_owned()))?;
        let (storage, key) = self.pickle.storage(layout.storage).expect("it was checked");
        let shape: Vec<i64> = layout.shape.iter().map(|&size| size as i64).collect();
        let options = (storage.kind, Device::Cpu);
        if shape.contains(&0) {
            return Ok(Tensor::zeros(&shape, options));
        }
        let width = storage.kind.elt_size_in_bytes() as u64;
        // From its first value to its last one, which is in the storage: neither overflows.
        let values: u64 =
            layout.shape.iter().zip(&layout.strides).map(|(&size, &stride)| (size - 1) * stride).sum::<u64>() + 1;
        let length = storage.len.checked_mul(width).ok_or_else(|| failed(format!("it has {} values", storage.len)))?;
        let part = layout.offset * width..(layout.offset + values) * width;
        let bytes = self.storages.read(key, length, part)?;
        let part = Tensor::f_from_data_size(&bytes, &[values as i64], storage.kind);
        let strides: Vec<i64> = layout.strides.iter().map(|&stride| stride as i64).collect();
        let own = part.and_then(|part| part.f_as_strided(&shape, &strides, 0)?.f_contiguous());
        own.map_err(|error| failed(error.to_string()))
    }
}
