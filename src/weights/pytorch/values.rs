//! The values of a pickle of `torch.save`: plain ones, storages, and the layouts of tensors. Values refer to each other
//! by number, so that deep nesting in a malicious pickle does not cause deep recursion.

use super::globals::{Global, Id};
use crate::error::WeightsProblem;
use tch::Kind;

pub(super) type Result<T, E = WeightsProblem> = std::result::Result<T, E>;

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
    /// The dtype of the tensor, which may read the storage's bytes as other numbers than the storage's own dtype.
    pub kind: Kind,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
    /// Whether the tensor's values are those in the storage times -1.
    pub negated: bool,
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
    /// Bytes, or a text that is too long for a name or not in UTF-8; its content is not kept.
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// A set, whose content is not kept.
    Set,
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(TensorLayout),
    /// An object of another type, which is not created.
    Object {
        /// The function or type that would create it, a [`Value::Global`].
        of: Id,
        /// Whether PyTorch would read a tensor.
        is_tensor: bool,
    },
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
            Value::Bytes => "bytes or a long text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Set => "a set",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a function or type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Object { .. } => "an object",
        }
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

    /// Returns the name of a function or type that is not on the list, such as "posix.system".
    pub fn global_name(&self, id: Id) -> String {
        match self.get(id) {
            &Value::Global(Global::Other { module, name }) => {
                [module, name].map(|part| self.text(part).unwrap_or_default()).join(".")
            }
            other => other.description().to_owned(),
        }
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
