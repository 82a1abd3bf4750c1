//! Safetensors files: tensors as their bytes, and a reader that takes them from a file one by one. Files of weights and
//! checkpoints both use it.

use crate::error::escaped;
use crate::torch::{bytes, bytes_mut};
use safetensors::tensor::{Dtype, Metadata, View};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use tch::{Device, Kind, TchError, Tensor};

/// Why a safetensors file, or one of its tensors, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFileProblem {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its header is no valid JSON of safetensors: {}", escaped(&.0.to_string()))]
    Header(#[from] serde_json::Error),
    #[error("it ends within its header")]
    TruncatedHeader,
    #[error("{what} is {value}, and at most {limit} is read")]
    TooLarge { what: &'static str, value: u64, limit: u64 },
    #[error("it has {length} bytes, but {header} of header and {tensors} of tensors")]
    Length { length: u64, header: u64, tensors: usize },
    #[error("{} is in it twice", escaped(.0))]
    DuplicateName(String),
    #[error("the file has no such tensor")]
    MissingTensor,
    #[error("the dtype {0} is not supported")]
    UnsupportedDtype(String),
    #[error(transparent)]
    Libtorch(#[from] TchError),
}

type Result<T, E = TensorFileProblem> = std::result::Result<T, E>;

/// The bytes of one tensor in row-major order, ready to be written to a safetensors file.
pub(crate) struct TensorBytes {
    dtype: Dtype,
    shape: Vec<usize>,
    tensor: Tensor,
}

impl TensorBytes {
    /// Copies the tensor to the CPU and makes it contiguous where it is not.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let unsupported = || TensorFileProblem::UnsupportedDtype(dtype_name(tensor.kind()));
        let dtype = dtype(tensor.kind()).ok_or_else(unsupported)?;
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        Ok(TensorBytes { dtype, shape: tensor.size().into_iter().map(|size| size as usize).collect(), tensor })
    }
}

impl View for TensorBytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytes(&self.tensor))
    }

    fn data_len(&self) -> usize {
        bytes(&self.tensor).len()
    }
}

/// Largest header, in bytes, that is read from a file of weights.
const MAX_HEADER: u64 = 16 << 20;
const MAX_TENSORS: usize = 1 << 16;
const MAX_RANK: usize = 8;
/// Longest name of a tensor, in bytes, that is read.
pub(crate) const MAX_NAME: usize = 1024;

/// Checks that [`TensorFile`] will read tensors of these names and ranks.
pub(crate) fn check_limits<'a>(tensors: impl ExactSizeIterator<Item = (&'a str, usize)>) -> Result<()> {
    at_most("the number of tensors", tensors.len() as u64, MAX_TENSORS as u64)?;
    for (name, rank) in tensors {
        at_most("the length of a name", name.len() as u64, MAX_NAME as u64)?;
        at_most("the number of a tensor's dimensions", rank as u64, MAX_RANK as u64)?;
    }
    Ok(())
}

fn at_most(what: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit { Err(TensorFileProblem::TooLarge { what, value, limit }) } else { Ok(()) }
}

/// A safetensors file whose tensors are read one by one, straight into their own memory.
pub(crate) struct TensorFile<R> {
    reader: R,
    header: Metadata,
    /// Offset of the first tensor in the file, in bytes.
    start: u64,
}

impl<R: Read + Seek> TensorFile<R> {
    /// Reads the header and checks that the file is as long as it says.
    pub fn open(mut reader: R) -> Result<Self> {
        let head = read_head(&mut reader, MAX_HEADER)?;
        Self::with_head(reader, &head)
    }

    /// Does the same as [`open`](Self::open) for a file whose head was read by [`read_head`] already.
    pub fn with_head(mut reader: R, head: &[u8]) -> Result<Self> {
        let start = head.len() as u64;
        let length = reader.seek(SeekFrom::End(0))?;
        let Keys(keys) = serde_json::from_slice(&head[LENGTH..])?;
        let mut seen = HashSet::with_capacity(keys.len());
        if let Some(twice) = keys.iter().find(|key| !seen.insert(*key)) {
            return Err(TensorFileProblem::DuplicateName(twice.clone()));
        }
        let header: Metadata = serde_json::from_slice(&head[LENGTH..])?;
        let infos = header.tensors();
        check_limits(infos.iter().map(|(name, info)| (name.as_str(), info.shape.len())))?;
        let tensors = header.data_len();
        match start.checked_add(tensors as u64) {
            Some(end) if end == length => Ok(TensorFile { reader, header, start }),
            _ => Err(TensorFileProblem::Length { length, header: start, tensors }),
        }
    }

    /// Returns the value of a key of the file's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the tensors' names in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Returns the shape of a tensor; `None` where the file has no tensor of this name.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let info = self.header.info(name)?;
        Some(info.shape.iter().map(|&size| size as i64).collect())
    }

    /// Returns the dtype of a tensor, such as "f32"; `None` where the file has no tensor of this name.
    pub fn dtype(&self, name: &str) -> Option<String> {
        Some(self.header.info(name)?.dtype.to_string().to_lowercase())
    }

    /// Reads a tensor to the CPU.
    pub fn read(&mut self, name: &str) -> Result<Tensor> {
        let (Some(shape), Some(info)) = (self.shape(name), self.header.info(name)) else {
            return Err(TensorFileProblem::MissingTensor);
        };
        let Some(&(kind, _)) = DTYPES.iter().find(|pair| pair.1 == info.dtype) else {
            return Err(TensorFileProblem::UnsupportedDtype(info.dtype.to_string().to_lowercase()));
        };
        let mut tensor = Tensor::f_empty(&shape, (kind, Device::Cpu))?;
        self.reader.seek(SeekFrom::Start(self.start + info.data_offsets.0 as u64))?;
        self.reader.read_exact(bytes_mut(&mut tensor))?;
        Ok(tensor)
    }
}

/// The keys of the header and of its metadata, duplicates included: a map would hold only the last value of each.
#[derive(Default)]
struct Keys(Vec<String>);

/// The key of the header that holds the metadata.
const METADATA: &str = "__metadata__";

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA {
                        let Keys(inner) = map.next_value::<Option<Keys>>()?.unwrap_or_default();
                        keys.extend(inner.into_iter().map(|inner| format!("{METADATA}.{inner}")));
                    } else {
                        let IgnoredAny = map.next_value()?;
                    }
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Width in bytes of the number that holds the header's length.
const LENGTH: usize = 8;

/// The signs that a file which begins with these bytes is of safetensors: whether it begins with a header's length that is
/// read, and whether a JSON object follows. A file that ends before has neither.
pub(crate) fn signs_of_safetensors(head: &[u8]) -> [bool; 2] {
    match head.split_first_chunk::<LENGTH>() {
        Some((length, header)) => [u64::from_le_bytes(*length) <= MAX_HEADER, header.starts_with(b"{")],
        None => [false; 2],
    }
}

/// Reads what comes before the tensors: the header's length, and the header, which may have at most `limit` bytes.
/// Memory grows with the size of the file, not with the length that it declares.
pub(crate) fn read_head(reader: &mut impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(LENGTH as u64).read_to_end(&mut head)?;
    let length = u64::from_le_bytes(head[..].try_into().map_err(|_| TensorFileProblem::TruncatedHeader)?);
    at_most("the length of its header", length, limit)?;
    let read = reader.take(length).read_to_end(&mut head)?;
    if read as u64 == length { Ok(head) } else { Err(TensorFileProblem::TruncatedHeader) }
}

/// The dtypes that both libtorch and safetensors have.
const DTYPES: [(Kind, Dtype); 9] = [
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Uint8, Dtype::U8),
    (Kind::Int8, Dtype::I8),
    (Kind::Int16, Dtype::I16),
    (Kind::Int, Dtype::I32),
    (Kind::Int64, Dtype::I64),
];

fn dtype(kind: Kind) -> Option<Dtype> {
    DTYPES.iter().find(|pair| pair.0 == kind).map(|pair| pair.1)
}

/// Returns the name of a dtype in messages and reports, such as "f32".
pub(crate) fn dtype_name(kind: Kind) -> String {
    dtype(kind).map_or_else(|| format!("{kind:?}"), |dtype| dtype.to_string()).to_lowercase()
}
