//! What the calls in a pickle stand for: the values that functions and types on the list would return. None is called.

use super::globals::{Global, Id};
use super::pickle::Machine;
use super::plain::damaged;
use super::values::{Result, Storage, TensorLayout, Value};
use crate::error::WeightsProblem;

/// Largest number of dimensions of a tensor that is read.
const MAX_RANK: usize = 8;

impl Machine {
    /// Pushes the function or type of this module and name.
    pub fn push_global(&mut self, module: Id, name: Id) -> Result<()> {
        let listed = Global::listed(self.text(module)?, self.text(name)?);
        self.push(Value::Global(listed.unwrap_or(Global::Other { module, name })))
    }

    /// Pushes the value that a call would return, without a call.
    pub fn call(&mut self, function: Id, arguments: Id) -> Result<()> {
        let (function, arguments) = match (&self.values[function], self.tuple(arguments)?) {
            // A tensor's function, its type and its arguments, and attributes.
            (Value::Global(Global::RebuildFromType), &[function, _, arguments, ..]) => (function, arguments),
            _ => (function, arguments),
        };
        let value = match self.values[function] {
            Value::Global(Global::Other { module, name }) => {
                let is_tensor = Global::makes_tensor(self.text(module)?, self.text(name)?);
                Value::Object { of: function, is_tensor }
            }
            // A method of an object, for example.
            Value::Object { of, .. } => Value::Object { of, is_tensor: false },
            Value::Global(listed) => match (listed, self.tuple(arguments)?) {
                // These stand for the value that they wrap.
                (Global::Size, &[same]) | (Global::RebuildParameter, &[same, ..]) => {
                    self.push_again(same);
                    return Ok(());
                }
                (Global::OrderedDict, []) => Value::Dict(Vec::new()),
                (Global::OrderedDict, &[items]) => self.dictionary_of(items)?,
                (Global::RebuildTensor, &[storage, offset, shape, strides, ref rest @ ..]) => {
                    self.tensor([storage, offset, shape, strides], None, rest.get(2))?
                }
                (Global::RebuildTypedTensor, &[storage, offset, shape, strides, _, _, dtype, ref rest @ ..]) => {
                    self.tensor([storage, offset, shape, strides], Some(dtype), rest.first())?
                }
                (listed, arguments) => {
                    return damaged(format!("its pickle calls {listed:?} with {} arguments", arguments.len()));
                }
            },
            ref other => return damaged(format!("its pickle calls {}", other.description())),
        };
        self.push(value)
    }

    /// Returns a dictionary of the pairs in a list, as Python 2 wrote ordered dictionaries.
    fn dictionary_of(&mut self, items: Id) -> Result<Value> {
        let Value::List(items) = &self.values[items] else {
            return damaged(format!("its pickle makes a dictionary of {}", self.values[items].description()));
        };
        let pair = |&id: &Id| match &self.values[id] {
            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            other => damaged(format!("its pickle has {} where a pair is wanted", other.description())),
        };
        let items = items.iter().map(pair).collect::<Result<Vec<_>>>()?;
        self.count_copied(items.len())?;
        Ok(Value::Dict(items))
    }

    /// Returns the tensor in a storage, of the storage's dtype where there is no other.
    fn tensor(&self, parts: [Id; 4], dtype: Option<Id>, metadata: Option<&Id>) -> Result<Value> {
        let [storage, offset, shape, strides] = parts;
        let kind = match (&self.values[storage], dtype.map(|dtype| (dtype, &self.values[dtype]))) {
            // A storage of a dtype that is not read.
            (&Value::Object { of, .. }, _) => return Ok(Value::Object { of, is_tensor: true }),
            (Value::Storage(storage), None) => storage.kind,
            (Value::Storage(_), Some((_, &Value::Global(Global::Dtype(kind))))) => kind,
            (Value::Storage(_), Some((of, Value::Global(Global::Other { .. })))) => {
                return Ok(Value::Object { of, is_tensor: true });
            }
            (Value::Storage(_), Some((_, other))) => {
                return damaged(format!("a tensor has {} as its dtype", other.description()));
            }
            (other, _) => return damaged(format!("a tensor lies in {}", other.description())),
        };
        Ok(Value::Tensor(TensorLayout {
            storage,
            kind,
            offset: self.number(offset)?,
            shape: self.dimensions(shape)?,
            strides: self.dimensions(strides)?,
            negated: metadata.is_some_and(|&metadata| self.is_negated(metadata)),
        }))
    }

    /// Whether a tensor's metadata say that its values are the negated ones of its storage.
    fn is_negated(&self, metadata: Id) -> bool {
        let Value::Dict(items) = &self.values[metadata] else { return false };
        items.iter().any(|&(key, value)| {
            matches!(&self.values[key], Value::Text(key) if key == "neg") && self.values[value] == Value::Bool(true)
        })
    }

    /// Returns the storage that a persistent id names: ("storage", type, key, device, elements), in older files with a
    /// view as the last one.
    pub fn storage(&self, id: Id) -> Result<Value> {
        let (parts, view) = match self.tuple(id)? {
            &[tag, kind, key, _, len] => ([tag, kind, key, len], None),
            &[tag, kind, key, _, len, view] => ([tag, kind, key, len], Some(view)),
            other => return damaged(format!("a storage has {} parts", other.len())),
        };
        if view.is_some_and(|view| self.values[view] != Value::None) {
            return damaged("a storage is a view of another one, which is not read");
        }
        let [tag, kind, key, len] = parts;
        match (self.text(tag)?, &self.values[kind]) {
            ("storage", &Value::Global(Global::Storage(dtype))) => {
                self.text(key)?;
                Ok(Value::Storage(Storage { key, kind: dtype, len: self.number(len)? }))
            }
            ("storage", Value::Global(Global::Other { .. })) => Ok(Value::Object { of: kind, is_tensor: false }),
            (tag, kind) => damaged(format!("a storage is {tag:?} of {}", kind.description())),
        }
    }

    fn text(&self, id: Id) -> Result<&str> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            other => damaged(format!("its pickle has {} where a text is wanted", other.description())),
        }
    }

    fn number(&self, id: Id) -> Result<u64> {
        match self.values[id] {
            Value::Integer(number @ 0..) => Ok(number as u64),
            Value::Integer(number) => damaged(format!("its pickle has {number} where a number from 0 is wanted")),
            ref other => damaged(format!("its pickle has {} where a number is wanted", other.description())),
        }
    }

    fn tuple(&self, id: Id) -> Result<&[Id]> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            other => damaged(format!("its pickle has {} where a tuple is wanted", other.description())),
        }
    }

    /// Returns the sizes, or strides, of a tensor's dimensions.
    fn dimensions(&self, id: Id) -> Result<Vec<u64>> {
        match self.tuple(id)? {
            items if items.len() <= MAX_RANK => items.iter().map(|&id| self.number(id)).collect(),
            items => {
                let (what, value) = ("the number of a tensor's dimensions", items.len() as u64);
                Err(WeightsProblem::TooLarge { what, value, limit: MAX_RANK as u64 })
            }
        }
    }
}
