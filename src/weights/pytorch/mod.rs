//! Files of `torch.save`: a pickle of descriptions, and the bytes of tensors beside it.

mod legacy;
mod pickle;
mod values;
mod zipped;

use super::source::{TensorInfo, TensorSource};
use crate::error::WeightsProblem;
use crate::torch::MAX_NAME;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::ops::Range;
use tch::{Device, Tensor};
use values::{Id, Pickle, Placed, Value};

type Result<T> = std::result::Result<T, WeightsProblem>;

/// The most bytes of a pickle.
const MAX_PICKLE: u64 = 16 << 20;
const MAX_TENSORS: usize = 1 << 16;
/// How deep dictionaries are searched for tensors: `{"model": {"state_dict": {…}}}`.
const MAX_DEPTH: usize = 4;

/// Where the bytes of a file's storages are.
trait Storages {
    /// Some bytes of a storage, which has `length` of them.
    fn read(&mut self, key: &str, length: u64, part: Range<u64>) -> Result<Vec<u8>>;
}

/// An open file.
pub(super) struct PyTorchFile {
    tensors: BTreeMap<String, Placed>,
    pickle: Pickle,
    storages: Box<dyn Storages>,
}

impl PyTorchFile {
    /// Opens a file if it begins as `torch.save` begins one.
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
            [0x80, 2, 0x8a, _] => {
                let (pickle, storages) = legacy::open(BufReader::new(file))?;
                (pickle, Box::new(storages))
            }
            _ => return Ok(None),
        };
        let mut tensors = BTreeMap::new();
        let mut seen = HashSet::new();
        collect(&pickle, pickle.root, "", 0, &mut seen, &mut tensors)?;
        tensors.iter().try_for_each(|(name, placed)| check(name, placed, &pickle))?;
        Ok(Some(PyTorchFile { tensors, pickle, storages }))
    }
}

/// Gathers the tensors of a dictionary and of those in it, under names joined by dots.
fn collect(
    pickle: &Pickle,
    id: Id,
    name: &str,
    depth: usize,
    seen: &mut HashSet<Id>,
    tensors: &mut BTreeMap<String, Placed>,
) -> Result<()> {
    match pickle.get(id) {
        Value::Tensor(placed) => {
            if tensors.len() == MAX_TENSORS {
                let (value, limit) = (MAX_TENSORS as u64 + 1, MAX_TENSORS as u64);
                return Err(WeightsProblem::TooLarge { what: "the number of tensors", value, limit });
            }
            if tensors.insert(name.to_owned(), placed.clone()).is_some() {
                return Err(WeightsProblem::Damaged(format!("{name} is in it twice")));
            }
        }
        // One that was seen holds itself, or is in two places; its tensors have their names already.
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

/// Whether all values of a tensor lie within its storage, and it has no more of them than that.
fn check(name: &str, placed: &Placed, pickle: &Pickle) -> Result<()> {
    let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
    let Some((storage, _)) = pickle.storage(placed.storage) else {
        return Err(failed("it lies in nothing".to_owned()));
    };
    let Placed { offset, shape, strides, .. } = placed;
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
        // More values than the storage has: one is there several times, and a few bytes would fill any memory.
        (Some(values), Some(last)) if last < storage.len && values <= storage.len => Ok(()),
        _ => Err(failed(format!(
            "its shape {shape:?}, strides {strides:?} and offset {offset} do not fit into {} values",
            storage.len
        ))),
    }
}

impl TensorSource for PyTorchFile {
    fn tensors(&self) -> Vec<TensorInfo> {
        let described = self.tensors.iter().map(|(name, placed)| {
            let (storage, _) = self.pickle.storage(placed.storage).expect("it was checked");
            let shape = placed.shape.iter().map(|&size| size as i64).collect();
            TensorInfo { name: name.clone(), kind: format!("{:?}", storage.kind), shape }
        });
        described.collect()
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let failed = |problem: String| WeightsProblem::Tensor { tensor: name.to_owned(), problem };
        let placed = self.tensors.get(name).ok_or_else(|| failed("it is missing".to_owned()))?;
        let (storage, key) = self.pickle.storage(placed.storage).expect("it was checked");
        let shape: Vec<i64> = placed.shape.iter().map(|&size| size as i64).collect();
        let options = (storage.kind, Device::Cpu);
        if shape.contains(&0) {
            return Ok(Tensor::zeros(&shape, options));
        }
        let width = storage.kind.elt_size_in_bytes() as u64;
        // From its first value to its last one, which is in the storage: neither overflows.
        let values: u64 =
            placed.shape.iter().zip(&placed.strides).map(|(&size, &stride)| (size - 1) * stride).sum::<u64>() + 1;
        let length = storage.len.checked_mul(width).ok_or_else(|| failed(format!("it has {} values", storage.len)))?;
        let part = placed.offset * width..(placed.offset + values) * width;
        let bytes = self.storages.read(key, length, part)?;
        let part = Tensor::f_from_data_size(&bytes, &[values as i64], storage.kind);
        let strides: Vec<i64> = placed.strides.iter().map(|&stride| stride as i64).collect();
        let own = part.and_then(|part| part.f_as_strided(&shape, &strides, 0)?.f_contiguous());
        own.map_err(|error| failed(error.to_string()))
    }
}

/// So many bytes from a place of a file, in memory that follows what is there.
fn read_exactly(reader: &mut impl Read, bytes: u64, what: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let read = reader.take(bytes).read_to_end(&mut all);
    match read {
        Ok(read) if read as u64 == bytes => Ok(all),
        Ok(read) => Err(WeightsProblem::Damaged(format!("storage {what} has {read} bytes, but should have {bytes}"))),
        Err(error) => Err(WeightsProblem::Damaged(format!("storage {what}: {error}"))),
    }
}
