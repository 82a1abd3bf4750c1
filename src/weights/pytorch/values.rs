//! What a pickle of `torch.save` holds: plain values, and where tensors lie. Values refer to each other by their number, so that a hostile
//! pickle can nest them as deep as it likes without a deep recursion.

use super::Result;
use crate::error::WeightsProblem;
use tch::Kind;

/// The number of a value.
pub(super) type Id = usize;

/// A piece of memory that tensors lie in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// Its name, a text.
    pub key: Id,
    pub kind: Kind,
    /// Elements.
    pub len: u64,
}

/// Where a tensor lies in its storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub storage: Id,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// A value of a pickle.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Integer(i64),
    /// An integer of more than 64 bits, little-endian.
    Large(Vec<u8>),
    Float,
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Allowed(Allowed),
    Storage(Storage),
    Tensor(Placed),
}

impl Value {
    /// What it is, in a message.
    pub fn what(&self) -> &'static str {
        match self {
            Value::None => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Integer(_) | Value::Large(_) => "a whole number",
            Value::Float => "a number",
            Value::Text(_) => "a text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Allowed(_) => "a function or type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Allowed {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(Kind),
}

impl Allowed {
    pub fn of(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Allowed::OrderedDict,
            ("torch", "Size") => Allowed::Size,
            // The second one has two more arguments, which do not matter.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Allowed::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Allowed::RebuildParameter,
            ("torch", "FloatStorage") => Allowed::Storage(Kind::Float),
            ("torch", "DoubleStorage") => Allowed::Storage(Kind::Double),
            ("torch", "HalfStorage") => Allowed::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Allowed::Storage(Kind::BFloat16),
            ("torch", "LongStorage") => Allowed::Storage(Kind::Int64),
            ("torch", "IntStorage") => Allowed::Storage(Kind::Int),
            ("torch", "ShortStorage") => Allowed::Storage(Kind::Int16),
            ("torch", "CharStorage") => Allowed::Storage(Kind::Int8),
            ("torch", "ByteStorage") => Allowed::Storage(Kind::Uint8),
            ("torch", "BoolStorage") => Allowed::Storage(Kind::Bool),
            _ => return Err(WeightsProblem::NotAllowed(format!("{module}.{name}"))),
        })
    }
}

/// All values of a pickle, and which one it is about.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub root: Id,
}

impl Pickle {
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    /// A storage and its key.
    pub fn storage(&self, id: Id) -> Option<(&Storage, &str)> {
        let Value::Storage(storage) = self.get(id) else { return None };
        Some((storage, self.text(storage.key)?))
    }

    /// The keys of all storages, and the bytes of an element of each.
    pub fn storages(&self) -> impl Iterator<Item = (&str, usize)> {
        let width = |value: &Value| match value {
            Value::Storage(storage) => Some((storage.key, storage.kind.elt_size_in_bytes())),
            _ => None,
        };
        self.values.iter().filter_map(width).filter_map(|(key, width)| Some((self.text(key)?, width)))
    }
}
