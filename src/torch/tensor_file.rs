//! Tensors in safetensors files.

use super::memory::{bytes, bytes_mut};
use safetensors::tensor::{Dtype, Metadata, View};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use tch::{Device, Kind, Tensor};

/// A tensor's bytes in the order of its shape.
pub(crate) struct TensorBytes {
    dtype: Dtype,
    shape: Vec<usize>,
    tensor: Tensor,
}

impl TensorBytes {
    pub fn of(tensor: &Tensor) -> Result<Self, String> {
        let dtype = dtype(tensor.kind()).ok_or_else(|| format!("safetensors has no {:?}", tensor.kind()))?;
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

/// The most bytes of a header.
pub(crate) const MAX_HEADER: u64 = 16 << 20;
const MAX_TENSORS: usize = 1 << 16;
const MAX_RANK: usize = 8;
/// The most bytes of a tensor's name.
pub(crate) const MAX_NAME: usize = 1024;

/// Whether [`TensorFile`] will read tensors of these names and ranks.
pub(crate) fn check_limits<'a>(tensors: impl ExactSizeIterator<Item = (&'a str, usize)>) -> Result<(), String> {
    if tensors.len() > MAX_TENSORS {
        return Err(format!("it has {} tensors, and at most {MAX_TENSORS} are read", tensors.len()));
    }
    for (name, rank) in tensors {
        if name.len() > MAX_NAME {
            return Err(format!("a name has {} bytes, and at most {MAX_NAME} are read", name.len()));
        }
        if rank > MAX_RANK {
            return Err(format!("{name} has {rank} dimensions, and at most {MAX_RANK} are read"));
        }
    }
    Ok(())
}

/// A safetensors file whose tensors are read one by one, straight into their own memory.
pub(crate) struct TensorFile<R> {
    reader: R,
    header: Metadata,
    /// Where the first tensor begins.
    start: u64,
}

impl<R: Read + Seek> TensorFile<R> {
    /// Reads the header and checks that the file is as long as it says.
    pub fn open(mut reader: R) -> Result<Self, String> {
        let head = read_head(&mut reader, MAX_HEADER).map_err(|error| error.to_string())?;
        Self::with_head(reader, &head)
    }

    /// As [`open`](Self::open), where [`read_head`] has read the file's head.
    pub fn with_head(mut reader: R, head: &[u8]) -> Result<Self, String> {
        let start = head.len() as u64;
        let length = reader.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        let Keys(keys) = serde_json::from_slice(&head[LENGTH..]).map_err(|error| error.to_string())?;
        let mut seen = HashSet::with_capacity(keys.len());
        if let Some(twice) = keys.iter().find(|key| !seen.insert(*key)) {
            return Err(format!("{twice} is in it twice"));
        }
        let header: Metadata = serde_json::from_slice(&head[LENGTH..]).map_err(|error| error.to_string())?;
        let tensors = header.tensors();
        check_limits(tensors.iter().map(|(name, info)| (name.as_str(), info.shape.len())))?;
        match start.checked_add(header.data_len() as u64) {
            Some(end) if end == length => Ok(TensorFile { reader, header, start }),
            _ => Err(format!("it has {length} bytes, but {start} of header and {} of tensors", header.data_len())),
        }
    }

    /// An entry of its metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The tensors' names in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let info = self.header.info(name)?;
        Some(info.shape.iter().map(|&size| size as i64).collect())
    }

    /// The kind of a tensor's numbers, as libtorch calls it.
    pub fn kind(&self, name: &str) -> Option<String> {
        let dtype = self.header.info(name)?.dtype;
        Some(kind(dtype).map_or_else(|| format!("{dtype:?}"), |kind| format!("{kind:?}")))
    }

    /// A tensor, on the CPU.
    pub fn read(&mut self, name: &str) -> Result<Tensor, String> {
        let shape = self.shape(name).ok_or("it is missing")?;
        let info = self.header.info(name).ok_or("it is missing")?;
        let kind = kind(info.dtype).ok_or_else(|| format!("its type {:?} is not supported", info.dtype))?;
        let place = SeekFrom::Start(self.start + info.data_offsets.0 as u64);
        let mut tensor = Tensor::f_empty(&shape, (kind, Device::Cpu)).map_err(|error| error.to_string())?;
        let read = self.reader.seek(place).and_then(|_| self.reader.read_exact(bytes_mut(&mut tensor)));
        read.map_err(|error| error.to_string())?;
        Ok(tensor)
    }
}

/// The keys of a JSON object, each as often as it is there: whoever reads it as a map sees the last one only.
struct Keys(Vec<String>);

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
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Bytes of the number that says how long the header is.
const LENGTH: usize = 8;

/// What stands before the tensors: the header's length, and the header, of at most `limit` bytes.
pub(crate) fn read_head(reader: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH];
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > limit {
        let problem = format!("its header would have {length} bytes, and at most {limit} are read");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut head = length.to_le_bytes().to_vec();
    // Memory follows what is there, not what the number says.
    reader.take(length).read_to_end(&mut head)?;
    match head.len() as u64 == LENGTH as u64 + length {
        true => Ok(head),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within its header")),
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
