//! Reads the pickle of a file of `torch.save`: plain values and descriptions of tensors. Nothing that a pickle names is
//! ever called, and what it would create is an object without content unless weights need it.

use super::globals::Id;
use super::opcodes as op;
use super::plain::{checked, damaged, line, plain_value};
use super::values::{Pickle, Result, Value};
use crate::error::WeightsProblem;
use byteorder::{LE, ReadBytesExt};
use std::collections::HashMap;
use std::io::BufRead;

/// Largest number of values that is read; a file of a large network has some ten thousand.
const MAX_VALUES: usize = 1 << 20;

impl Pickle {
    /// Reads one pickle of protocol 2 to 5, up to its end.
    ///
    /// # Errors
    ///
    /// [`WeightsProblem::Damaged`] and [`WeightsProblem::TooLarge`].
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
pub(super) struct Machine {
    pub values: Vec<Value>,
    /// Number of the items that were copied from one container to another.
    copied: usize,
    stack: Vec<Id>,
    /// Length of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
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
            op::ADDITEMS => self.pop_to_mark().map(drop),
            op::FROZENSET => self.pop_to_mark().and_then(|_| self.push(Value::Set)),
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_to_mark().map(drop),
            op::BINPUT => checked(r.read_u8()).and_then(|key| self.memoize(key.into())),
            op::LONG_BINPUT => checked(r.read_u32::<LE>()).and_then(|key| self.memoize(key)),
            op::MEMOIZE => self.memoize(self.memo.len() as u32),
            op::BINGET => checked(r.read_u8()).and_then(|key| self.get(key.into())),
            op::LONG_BINGET => checked(r.read_u32::<LE>()).and_then(|key| self.get(key)),
            op::GLOBAL => {
                let (module, name) = (self.add(Value::Text(line(r)?))?, self.add(Value::Text(line(r)?))?);
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => self.pop_many(2).and_then(|names| self.push_global(names[0], names[1])),
            op::BINPERSID => {
                let id = self.pop()?;
                self.storage(id).and_then(|storage| self.push(storage))
            }
            op::REDUCE | op::NEWOBJ => self.pop_many(2).and_then(|parts| self.call(parts[0], parts[1])),
            op::NEWOBJ_EX => self.pop_many(3).and_then(|parts| self.call(parts[0], parts[1])),
            // Sets attributes, such as the versions of modules in a state_dict: they are ignored.
            op::BUILD => self.pop().map(drop),
            _ => damaged(format!("its pickle has the opcode {opcode:#04x}, which is not read")),
        }
    }

    /// Adds a value without pushing it.
    fn add(&mut self, value: Value) -> Result<Id> {
        if self.values.len() == MAX_VALUES {
            return too_many(MAX_VALUES as u64 + 1);
        }
        self.values.push(value);
        Ok(self.values.len() - 1)
    }

    pub fn push(&mut self, value: Value) -> Result<()> {
        let id = self.add(value)?;
        self.push_again(id);
        Ok(())
    }

    /// Pushes a value that exists already.
    pub fn push_again(&mut self, id: Id) {
        self.stack.push(id);
    }

    /// Counts items that are copied from one container to another: their number could grow faster than the file.
    pub fn count_copied(&mut self, items: usize) -> Result<()> {
        self.copied += items;
        if self.copied > MAX_VALUES { too_many(self.copied as u64) } else { Ok(()) }
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
            Value::Object { .. } => {}
            other => return damaged(format!("its pickle appends to {}", other.description())),
        }
        Ok(())
    }

    /// Adds pairs of a key and a value, which alternate in `items`, to the dictionary on top of the stack.
    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        match self.top()? {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Value::Object { .. } => {}
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
}

fn too_many<T>(value: u64) -> Result<T> {
    Err(WeightsProblem::TooLarge { what: "the number of values in a pickle", value, limit: MAX_VALUES as u64 })
}
