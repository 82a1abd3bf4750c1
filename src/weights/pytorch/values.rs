//! The values of a pickle of `torch.save`: plain ones, storages, and the layouts of tensors. Values refer to each other
//! by number, so that deep nesting in a malicious pickle does not cause deep recursion.

use crate::error::WeightsProblem;
use tch::Kind;

pub(super) type Result<T, E = WeightsProblem> = std::result::Result<T, E>;

/// Index of a value in its pickle.
pub(super) type Id = usize;

/// The description of a piece of memory that tensors lie in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// Name of the storage in the file, a text.
    pub key: Id,
    pub kind: Kind,
    /// Number of its elements, not bytes.
    pub len: u64,
}

/// The place of a tensor in its storage; offset and strides count elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorLayout {
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
    Global(Global),
    Storage(Storage),
    Tensor(TensorLayout),
}

impl Value {
    /// Names the type of the value in a message.
    pub fn description(&self) -> &'static str {
        match self {
            Value::None => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Integer(_) | Value::Large(_) => "a whole number",
            Value::Float => "a number",
            Value::Text(_) => "a text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a function or type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

/// A function or type that a pickle may name; pickle calls such names globals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(Kind),
}

impl Global {
    /// Looks a name up in the list of those that weights need; every other name is an error.
    pub fn of(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            // The second one has two more arguments, which are ignored.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::Storage(Kind::Float),
            ("torch", "DoubleStorage") => Global::Storage(Kind::Double),
            ("torch", "HalfStorage") => Global::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Global::Storage(Kind::BFloat16),
            ("torch", "LongStorage") => Global::Storage(Kind::Int64),
            ("torch", "IntStorage") => Global::Storage(Kind::Int),
            ("torch", "ShortStorage") => Global::Storage(Kind::Int16),
            ("torch", "CharStorage") => Global::Storage(Kind::Int8),
            ("torch", "ByteStorage") => Global::Storage(Kind::Uint8),
            ("torch", "BoolStorage") => Global::Storage(Kind::Bool),
            _ => return Err(WeightsProblem::NotAllowed(format!("{module}.{name}"))),
        })
    }
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub values: Vec<Value>,
    /// The value that the pickle stands for; the others are parts of it.
    pub root: Id,
}

impl Pickle {
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    /// Returns the storage with this index and its key; `None` where the value is no storage.
    pub fn storage(&self, id: Id) -> Option<(&Storage, &str)> {
        let Value::Storage(storage) = self.get(id) else { return None };
        Some((storage, self.text(storage.key)?))
    }

    /// Iterates over the keys of all storages, each with the bytes per element.
    pub fn storages(&self) -> impl Iterator<Item = (&str, usize)> {
        let width = |value: &Value| match value {
            Value::Storage(storage) => Some((storage.key, storage.kind.elt_size_in_bytes())),
            _ => None,
        };
        self.values.iter().filter_map(width).filter_map(|(key, width)| Some((self.text(key)?, width)))
    }
}
