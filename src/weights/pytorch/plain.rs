//! The plain values of a pickle, as its opcodes encode them.

use super::opcodes as op;
use super::values::{Result, Value};
use crate::error::WeightsProblem;
use byteorder::{LE, ReadBytesExt};
use std::io::{self, BufRead, Read};

/// Longest text, in bytes, that is kept.
const MAX_TEXT: u64 = 1 << 16;

pub(super) fn damaged<T>(problem: impl Into<String>) -> Result<T> {
    Err(WeightsProblem::Damaged(problem.into()))
}

/// Converts an error of a read within the pickle.
pub(super) fn checked<T>(result: io::Result<T>) -> Result<T> {
    result.or_else(|error| damaged(format!("its pickle: {error}")))
}

/// Reads the value of an opcode that pushes one value and needs nothing of the machine; `None` for other opcodes.
pub(super) fn plain_value(opcode: u8, r: &mut impl BufRead) -> Result<Option<Value>> {
    Ok(Some(match opcode {
        op::NONE => Value::None,
        op::NEWTRUE => Value::Bool(true),
        op::NEWFALSE => Value::Bool(false),
        op::BININT => Value::Integer(checked(r.read_i32::<LE>())?.into()),
        op::BININT1 => Value::Integer(checked(r.read_u8())?.into()),
        op::BININT2 => Value::Integer(checked(r.read_u16::<LE>())?.into()),
        op::LONG1 => checked(r.read_u8()).and_then(|length| integer(r, length.into()))?,
        op::LONG4 => checked(r.read_u32::<LE>()).and_then(|length| integer(r, length.into()))?,
        op::BINFLOAT => checked(r.read_u64::<LE>()).map(|_| Value::Float)?,
        op::SHORT_BINUNICODE | op::SHORT_BINSTRING => checked(r.read_u8()).and_then(|length| text(r, length.into()))?,
        op::BINUNICODE | op::BINSTRING => checked(r.read_u32::<LE>()).and_then(|length| text(r, length.into()))?,
        op::BINUNICODE8 => checked(r.read_u64::<LE>()).and_then(|length| text(r, length))?,
        op::SHORT_BINBYTES => checked(r.read_u8()).and_then(|length| skip(r, length.into()))?,
        op::BINBYTES => checked(r.read_u32::<LE>()).and_then(|length| skip(r, length.into()))?,
        op::BINBYTES8 | op::BYTEARRAY8 => checked(r.read_u64::<LE>()).and_then(|length| skip(r, length))?,
        op::EMPTY_DICT => Value::Dict(Vec::new()),
        op::EMPTY_LIST => Value::List(Vec::new()),
        op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
        op::EMPTY_SET => Value::Set,
        _ => return Ok(None),
    }))
}

/// Reads bytes whose content no weights need.
fn skip(r: &mut impl Read, length: u64) -> Result<Value> {
    let skipped = checked(io::copy(&mut r.take(length), &mut io::sink()))?;
    if skipped == length { Ok(Value::Bytes) } else { damaged("its pickle is cut off") }
}

/// Reads a text. Python also has texts that are not in UTF-8, such as paths; no name of a tensor is one.
fn text(r: &mut impl Read, length: u64) -> Result<Value> {
    if length > MAX_TEXT {
        return skip(r, length);
    }
    Ok(String::from_utf8(bytes(r, length)?).map_or(Value::Bytes, Value::Text))
}

/// Reads at most [`MAX_TEXT`] bytes. Memory grows with the size of the file, not with the number that it declares.
fn bytes(r: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    checked(r.take(length).read_to_end(&mut bytes))?;
    if bytes.len() as u64 == length { Ok(bytes) } else { damaged("its pickle is cut off") }
}

/// Reads a little-endian integer in two's complement.
fn integer(r: &mut impl Read, length: u64) -> Result<Value> {
    if length > MAX_TEXT {
        return skip(r, length);
    }
    let bytes = bytes(r, length)?;
    if bytes.len() > 8 {
        return Ok(Value::Large(bytes));
    }
    let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut all = [fill; 8];
    all[..bytes.len()].copy_from_slice(&bytes);
    Ok(Value::Integer(i64::from_le_bytes(all)))
}

/// Reads the rest of a line, without its end.
pub(super) fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    checked(reader.take(MAX_TEXT).read_until(b'\n', &mut bytes))?;
    if bytes.pop() != Some(b'\n') {
        return damaged("its pickle is cut off");
    }
    String::from_utf8(bytes).or_else(|error| damaged(format!("its pickle: {error}")))
}
