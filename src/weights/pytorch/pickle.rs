//! The pickle of a file of `torch.save`: plain values and descriptions of tensors. Nothing that a pickle names is ever called; what is not
//! on a short list is an error.

use super::Result;
use super::values::{Allowed, Id, Pickle, Placed, Storage, Value};
use crate::error::WeightsProblem;
use byteorder::{LE, ReadBytesExt};
use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// The most values that are read; a file of a large network has some ten thousand.
const MAX_VALUES: usize = 1 << 20;
const MAX_TEXT: u64 = 1 << 16;
const MAX_RANK: usize = 8;

impl Pickle {
    /// Reads one pickle, up to its end, of protocol 2 to 4.
    pub fn read(reader: &mut impl BufRead) -> Result<Pickle> {
        Machine::default().run(reader)
    }
}

/// What is made while a pickle is read.
#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// How long the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

fn damaged<T>(problem: impl Into<String>) -> Result<T> {
    Err(WeightsProblem::Damaged(problem.into()))
}

fn read<T>(result: io::Result<T>) -> Result<T> {
    result.or_else(|error| damaged(format!("its pickle: {error}")))
}

impl Machine {
    fn run(mut self, r: &mut impl BufRead) -> Result<Pickle> {
        loop {
            match read(r.read_u8())? {
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Pickle { values: self.values, root });
                }
                // Protocol; frame.
                0x80 => drop(read(r.read_u8())?),
                0x95 => drop(read(r.read_u64::<LE>())?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => {
                    let value = read(r.read_u8())?.into();
                    self.push(Value::Integer(value))?;
                }
                b'M' => {
                    let value = read(r.read_u16::<LE>())?.into();
                    self.push(Value::Integer(value))?;
                }
                b'J' => {
                    let value = read(r.read_i32::<LE>())?.into();
                    self.push(Value::Integer(value))?;
                }
                0x8a => {
                    let length = read(r.read_u8())?;
                    let bytes = text_bytes(r, length.into())?;
                    self.push(integer(bytes))?;
                }
                b'G' => {
                    read(r.read_u64::<LE>())?;
                    self.push(Value::Float)?;
                }
                b'X' | b'T' => {
                    let length = read(r.read_u32::<LE>())?;
                    self.push_text(r, length.into())?;
                }
                0x8c | b'U' => {
                    let length = read(r.read_u8())?;
                    self.push_text(r, length.into())?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b'(' => self.marks.push(self.stack.len()),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                code @ 0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let items = self.pop_many(count)?;
                    self.push(Value::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let pair = self.pop_many(2)?;
                    self.set_items(pair)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(items)?;
                }
                b'q' => {
                    let place = read(r.read_u8())?.into();
                    self.remember(place)?;
                }
                b'r' => {
                    let place = read(r.read_u32::<LE>())?;
                    self.remember(place)?;
                }
                0x94 => {
                    let place = self.memo.len() as u32;
                    self.remember(place)?;
                }
                b'h' => {
                    let place = read(r.read_u8())?.into();
                    self.recall(place)?;
                }
                b'j' => {
                    let place = read(r.read_u32::<LE>())?;
                    self.recall(place)?;
                }
                b'c' => {
                    let (module, name) = (line(r)?, line(r)?);
                    self.push(Value::Allowed(Allowed::of(&module, &name)?))?;
                }
                0x93 => {
                    let names = self.pop_many(2)?;
                    let allowed = Allowed::of(self.text(names[0])?, self.text(names[1])?)?;
                    self.push(Value::Allowed(allowed))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Value::Storage(storage))?;
                }
                b'R' => {
                    let parts = self.pop_many(2)?;
                    self.call(parts[0], parts[1])?;
                }
                // Attributes, such as the versions of modules in a state_dict.
                b'b' => drop(self.pop()?),
                b'0' => drop(self.pop()?),
                code => return damaged(format!("its pickle has the operation {code:#04x}, which is not read")),
            }
            if self.stack.len() > MAX_VALUES || self.marks.len() > MAX_VALUES {
                return too_many(self.stack.len() as u64);
            }
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        if self.values.len() == MAX_VALUES {
            return too_many(MAX_VALUES as u64 + 1);
        }
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
        Ok(())
    }

    fn push_text(&mut self, reader: &mut impl Read, length: u64) -> Result<()> {
        let bytes = text_bytes(reader, length)?;
        let text = String::from_utf8(bytes).or_else(|error| damaged(format!("its pickle: {error}")))?;
        self.push(Value::Text(text))
    }

    fn pop(&mut self) -> Result<Id> {
        let least = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > least {
            true => Ok(self.stack.pop().expect("it is longer than that")),
            false => damaged("its pickle takes more than there is"),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => damaged("its pickle ends a list that it has not begun"),
        }
    }

    fn top(&mut self) -> Result<&mut Value> {
        match self.stack.last() {
            Some(&id) => Ok(&mut self.values[id]),
            None => damaged("its pickle takes more than there is"),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        match self.top()? {
            Value::List(list) => list.extend(items),
            other => return damaged(format!("its pickle appends to {}", other.what())),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        match self.top()? {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            other => return damaged(format!("its pickle sets items of {}", other.what())),
        }
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        match self.stack.last() {
            Some(_) if self.memo.len() == MAX_VALUES => return too_many(MAX_VALUES as u64 + 1),
            Some(&id) => drop(self.memo.insert(place, id)),
            None => return damaged("its pickle takes more than there is"),
        }
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        match self.memo.get(&place) {
            Some(&id) => self.stack.push(id),
            None => return damaged(format!("its pickle recalls {place}, which it has not kept")),
        }
        Ok(())
    }

    fn text(&self, id: Id) -> Result<&str> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            other => damaged(format!("its pickle has {} where a text is wanted", other.what())),
        }
    }

    fn number(&self, id: Id) -> Result<u64> {
        match self.values[id] {
            Value::Integer(number @ 0..) => Ok(number as u64),
            Value::Integer(number) => damaged(format!("its pickle has {number} where a number from 0 is wanted")),
            ref other => damaged(format!("its pickle has {} where a number is wanted", other.what())),
        }
    }

    fn tuple(&self, id: Id) -> Result<&[Id]> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            other => damaged(format!("its pickle has {} where a tuple is wanted", other.what())),
        }
    }

    /// The sizes, or strides, of a tensor's dimensions.
    fn dimensions(&self, id: Id) -> Result<Vec<u64>> {
        match self.tuple(id)? {
            items if items.len() <= MAX_RANK => items.iter().map(|&id| self.number(id)).collect(),
            items => {
                let (what, value) = ("the number of a tensor's dimensions", items.len() as u64);
                Err(WeightsProblem::TooLarge { what, value, limit: MAX_RANK as u64 })
            }
        }
    }

    /// What a persistent id names: ("storage", type, key, device, elements), in older files with a view as the last one.
    fn storage(&self, id: Id) -> Result<Storage> {
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
            ("storage", &Value::Allowed(Allowed::Storage(kind))) => {
                self.text(key)?;
                Ok(Storage { key, kind, len: self.number(len)? })
            }
            (tag, kind) => damaged(format!("a storage is {tag:?} of {}", kind.what())),
        }
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<()> {
        let Value::Allowed(function) = self.values[function] else {
            return damaged(format!("its pickle calls {}", self.values[function].what()));
        };
        let value = match (function, self.tuple(arguments)?) {
            (Allowed::OrderedDict, []) => Value::Dict(Vec::new()),
            // What these make of a value is here that value.
            (Allowed::Size, &[same]) | (Allowed::RebuildParameter, &[same, ..]) => {
                self.stack.push(same);
                return Ok(());
            }
            (Allowed::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let (offset, shape, strides) =
                    (self.number(offset)?, self.dimensions(shape)?, self.dimensions(strides)?);
                match &self.values[storage] {
                    Value::Storage(_) => Value::Tensor(Placed { storage, offset, shape, strides }),
                    other => return damaged(format!("a tensor lies in {}", other.what())),
                }
            }
            (function, arguments) => {
                return damaged(format!("its pickle calls {function:?} with {} arguments", arguments.len()));
            }
        };
        self.push(value)
    }
}

fn too_many<T>(value: u64) -> Result<T> {
    Err(WeightsProblem::TooLarge { what: "the number of values in a pickle", value, limit: MAX_VALUES as u64 })
}

/// So many bytes, in memory that follows what is there.
fn text_bytes(reader: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    if length > MAX_TEXT {
        return Err(WeightsProblem::TooLarge { what: "the length of a text", value: length, limit: MAX_TEXT });
    }
    let mut bytes = Vec::new();
    read(reader.take(length).read_to_end(&mut bytes))?;
    if bytes.len() as u64 == length { Ok(bytes) } else { damaged("its pickle is cut off") }
}

/// A little-endian integer in two's complement.
fn integer(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Large(bytes);
    }
    let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut all = [fill; 8];
    all[..bytes.len()].copy_from_slice(&bytes);
    Value::Integer(i64::from_le_bytes(all))
}

/// Up to the end of a line.
fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    read(reader.take(MAX_TEXT).read_until(b'\n', &mut bytes))?;
    if bytes.pop() != Some(b'\n') {
        return damaged("its pickle is cut off");
    }
    String::from_utf8(bytes).or_else(|error| damaged(format!("its pickle: {error}")))
}
