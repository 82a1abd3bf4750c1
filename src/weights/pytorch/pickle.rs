//! Reads the pickle of a file of `torch.save`: plain values and descriptions of tensors. Nothing that a pickle names is
//! ever called, and a name that is not on a short list is an error.

use super::opcodes as op;
use super::values::{Global, Id, Pickle, Result, Storage, TensorLayout, Value};
use crate::error::WeightsProblem;
use byteorder::{LE, ReadBytesExt};
use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Largest number of values that is read; a file of a large network has some ten thousand.
const MAX_VALUES: usize = 1 << 20;
/// Longest text, in bytes, that is read.
const MAX_TEXT: u64 = 1 << 16;
/// Largest number of dimensions of a tensor that is read.
const MAX_RANK: usize = 8;

impl Pickle {
    /// Reads one pickle of protocol 2 to 4, up to its end.
    ///
    /// # Errors
    ///
    /// [`WeightsProblem::Damaged`], [`WeightsProblem::TooLarge`], and [`WeightsProblem::NotAllowed`] for a function or
    /// type that no weights need.
    pub fn read(reader: &mut impl BufRead) -> Result<Pickle> {
        let mut machine = Machine::default();
        loop {
            match checked(reader.read_u8())? {
                op::STOP => {
                    let root = machine.pop()?;
                    return Ok(Pickle { values: machine.values, root });
                }
                opcode => machine.step(opcode, reader)?,
            }
            if machine.stack.len() > MAX_VALUES || machine.marks.len() > MAX_VALUES {
                return too_many(machine.stack.len() as u64);
            }
        }
    }
}

/// The state of the stack machine that a pickle is a program for.
#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Length of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

fn damaged<T>(problem: impl Into<String>) -> Result<T> {
    Err(WeightsProblem::Damaged(problem.into()))
}

/// Converts an error of a read within the pickle.
fn checked<T>(result: io::Result<T>) -> Result<T> {
    result.or_else(|error| damaged(format!("its pickle: {error}")))
}

impl Machine {
    /// Executes one opcode, whose operands follow in the reader.
    fn step(&mut self, opcode: u8, r: &mut impl BufRead) -> Result<()> {
        if let Some(value) = plain_value(opcode, r)? {
            return self.push(value);
        }
        match opcode {
            op::PROTO => checked(r.read_u8()).map(drop),
            op::FRAME => checked(r.read_u64::<LE>()).map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::TUPLE => self.pop_to_mark().and_then(|items| self.push(Value::Tuple(items))),
            op::TUPLE1 => self.pop_many(1).and_then(|items| self.push(Value::Tuple(items))),
            op::TUPLE2 => self.pop_many(2).and_then(|items| self.push(Value::Tuple(items))),
            op::TUPLE3 => self.pop_many(3).and_then(|items| self.push(Value::Tuple(items))),
            op::APPEND => self.pop_many(1).and_then(|items| self.append(items)),
            op::APPENDS => self.pop_to_mark().and_then(|items| self.append(items)),
            op::SETITEM => self.pop_many(2).and_then(|items| self.set_items(items)),
            op::SETITEMS => self.pop_to_mark().and_then(|items| self.set_items(items)),
            op::POP => self.pop().map(drop),
            op::BINPUT => checked(r.read_u8()).and_then(|key| self.memoize(key.into())),
            op::LONG_BINPUT => checked(r.read_u32::<LE>()).and_then(|key| self.memoize(key)),
            op::MEMOIZE => self.memoize(self.memo.len() as u32),
            op::BINGET => checked(r.read_u8()).and_then(|key| self.get(key.into())),
            op::LONG_BINGET => checked(r.read_u32::<LE>()).and_then(|key| self.get(key)),
            op::STACK_GLOBAL => self.stack_global(),
            op::BINPERSID => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))
            }
            op::REDUCE => self.pop_many(2).and_then(|parts| self.reduce(parts[0], parts[1])),
            // Sets attributes, such as the versions of modules in a state_dict: they are ignored.
            op::BUILD => self.pop().map(drop),
            _ => damaged(format!("its pickle has the opcode {opcode:#04x}, which is not read")),
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

    fn pop(&mut self) -> Result<Id> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= bottom => Ok(id),
            _ => damaged("its pickle takes more than there is"),
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
            other => return damaged(format!("its pickle appends to {}", other.description())),
        }
        Ok(())
    }

    /// Adds pairs of a key and a value, which alternate in `items`, to the dictionary on top of the stack.
    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        match self.top()? {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            other => return damaged(format!("its pickle sets items of {}", other.description())),
        }
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<()> {
        match self.stack.last() {
            Some(_) if self.memo.len() == MAX_VALUES => return too_many(MAX_VALUES as u64 + 1),
            Some(&id) => drop(self.memo.insert(key, id)),
            None => return damaged("its pickle takes more than there is"),
        }
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => return damaged(format!("its pickle gets {key} from its memo, which is not in it")),
        }
        Ok(())
    }

    fn stack_global(&mut self) -> Result<()> {
        let names = self.pop_many(2)?;
        let global = Global::of(self.text(names[0])?, self.text(names[1])?)?;
        self.push(Value::Global(global))
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

    /// Returns the storage that a persistent id names: ("storage", type, key, device, elements), in older files with a
    /// view as the last one.
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
            ("storage", &Value::Global(Global::Storage(kind))) => {
                self.text(key)?;
                Ok(Storage { key, kind, len: self.number(len)? })
            }
            (tag, kind) => damaged(format!("a storage is {tag:?} of {}", kind.description())),
        }
    }

    /// Creates the value that a call of an allowed function would return, without a call.
    fn reduce(&mut self, function: Id, arguments: Id) -> Result<()> {
        let Value::Global(function) = self.values[function] else {
            return damaged(format!("its pickle calls {}", self.values[function].description()));
        };
        let value = match (function, self.tuple(arguments)?) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            // These stand for the value that they wrap.
            (Global::Size, &[same]) | (Global::RebuildParameter, &[same, ..]) => {
                self.stack.push(same);
                return Ok(());
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let (offset, shape, strides) =
                    (self.number(offset)?, self.dimensions(shape)?, self.dimensions(strides)?);
                match &self.values[storage] {
                    Value::Storage(_) => Value::Tensor(TensorLayout { storage, offset, shape, strides }),
                    other => return damaged(format!("a tensor lies in {}", other.description())),
                }
            }
            (function, arguments) => {
                return damaged(format!("its pickle calls {function:?} with {} arguments", arguments.len()));
            }
        };
        self.push(value)
    }
}

/// Reads the value of an opcode that pushes one value and needs nothing of the machine; `None` for other opcodes.
fn plain_value(opcode: u8, r: &mut impl BufRead) -> Result<Option<Value>> {
    Ok(Some(match opcode {
        op::NONE => Value::None,
        op::NEWTRUE => Value::Bool(true),
        op::NEWFALSE => Value::Bool(false),
        op::BININT => Value::Integer(checked(r.read_i32::<LE>())?.into()),
        op::BININT1 => Value::Integer(checked(r.read_u8())?.into()),
        op::BININT2 => Value::Integer(checked(r.read_u16::<LE>())?.into()),
        op::LONG1 => {
            let length = checked(r.read_u8())?;
            integer(text_bytes(r, length.into())?)
        }
        op::BINFLOAT => checked(r.read_u64::<LE>()).map(|_| Value::Float)?,
        op::BINUNICODE | op::BINSTRING => {
            let length = checked(r.read_u32::<LE>())?;
            Value::Text(utf8(text_bytes(r, length.into())?)?)
        }
        op::SHORT_BINUNICODE | op::SHORT_BINSTRING => {
            let length = checked(r.read_u8())?;
            Value::Text(utf8(text_bytes(r, length.into())?)?)
        }
        op::EMPTY_DICT => Value::Dict(Vec::new()),
        op::EMPTY_LIST => Value::List(Vec::new()),
        op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
        op::GLOBAL => {
            let (module, name) = (line(r)?, line(r)?);
            Value::Global(Global::of(&module, &name)?)
        }
        _ => return Ok(None),
    }))
}

fn too_many<T>(value: u64) -> Result<T> {
    Err(WeightsProblem::TooLarge { what: "the number of values in a pickle", value, limit: MAX_VALUES as u64 })
}

/// Reads `length` bytes. Memory grows with the size of the file, not with the number that it declares.
fn text_bytes(reader: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    if length > MAX_TEXT {
        return Err(WeightsProblem::TooLarge { what: "the length of a text", value: length, limit: MAX_TEXT });
    }
    let mut bytes = Vec::new();
    checked(reader.take(length).read_to_end(&mut bytes))?;
    if bytes.len() as u64 == length { Ok(bytes) } else { damaged("its pickle is cut off") }
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).or_else(|error| damaged(format!("its pickle: {error}")))
}

/// Decodes a little-endian integer in two's complement.
fn integer(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Large(bytes);
    }
    let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut all = [fill; 8];
    all[..bytes.len()].copy_from_slice(&bytes);
    Value::Integer(i64::from_le_bytes(all))
}

/// Reads the rest of a line, without its end.
fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    checked(reader.take(MAX_TEXT).read_until(b'\n', &mut bytes))?;
    if bytes.pop() != Some(b'\n') {
        return damaged("its pickle is cut off");
    }
    utf8(bytes)
}
