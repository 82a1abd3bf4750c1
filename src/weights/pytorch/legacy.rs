//! The format before PyTorch 1.6: five pickles (a magic number, a version, a description of the system, the weights,
//! and the keys of all storages), and then each storage as its length and its bytes.

use super::opcodes as op;
use super::storages::{MAX_PICKLE, Storages, read_exactly};
use super::values::{Pickle, Result, Value};
use crate::error::WeightsProblem;
use byteorder::{LE, ReadBytesExt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

/// The magic number 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

/// Whether a file that begins with these bytes has this format: a pickle of the magic number, of any protocol.
pub(in crate::weights) fn is_legacy(head: &[u8]) -> bool {
    // From protocol 4, 9 bytes of a frame's length come before the number.
    const LAST: usize = 2 + 9 + 2 + MAGIC.len();
    head.first() == Some(&op::PROTO) && head[..head.len().min(LAST)].windows(MAGIC.len()).any(|part| part == MAGIC)
}

/// The file, with the offset and the length in bytes of each storage by its key.
pub(super) struct Legacy {
    reader: BufReader<File>,
    storages: BTreeMap<String, (u64, u64)>,
}

/// Reads all pickles, and finds every storage.
pub(super) fn open(mut reader: BufReader<File>) -> Result<(Pickle, Legacy)> {
    let damaged = |problem: &str| WeightsProblem::Damaged(problem.to_owned());
    let magic = read_pickle(&mut reader)?;
    if *magic.get(magic.root) != Value::Large(MAGIC.to_vec()) {
        return Err(damaged("its magic number is another one"));
    }
    let version = read_pickle(&mut reader)?;
    if *version.get(version.root) != Value::Integer(VERSION) {
        return Err(damaged("its version is not 1001"));
    }
    read_pickle(&mut reader)?;
    let pickle = read_pickle(&mut reader)?;
    let keys = read_pickle(&mut reader)?;
    let Value::List(ids) = keys.get(keys.root) else { return Err(damaged("it has no list of storages")) };
    let widths: BTreeMap<&str, u64> = pickle.storages().map(|(key, width)| (key, width as u64)).collect();
    let end = reader.get_ref().metadata().map_err(|error| damaged(&error.to_string()))?.len();
    let mut storages = BTreeMap::new();
    let mut place = reader.stream_position().map_err(|error| damaged(&error.to_string()))?;
    for &id in ids {
        let key = keys.text(id).ok_or_else(|| damaged("the key of a storage is no text"))?;
        let width = *widths.get(key).ok_or_else(|| damaged("it has a storage of an unknown dtype"))?;
        reader.seek(SeekFrom::Start(place)).map_err(|error| damaged(&error.to_string()))?;
        let count = reader.read_u64::<LE>().map_err(|_| damaged("it is cut off"))?;
        let first = place + 8;
        place = match count.checked_mul(width).and_then(|bytes| first.checked_add(bytes)) {
            Some(next) if next <= end => next,
            _ => {
                return Err(WeightsProblem::Damaged(format!(
                    "storage {key} has {count} values, and the file ends before"
                )));
            }
        };
        storages.insert(key.to_owned(), (first, count * width));
    }
    Ok((pickle, Legacy { reader, storages }))
}

/// Reads one of the file's pickles.
fn read_pickle(reader: &mut impl BufRead) -> Result<Pickle> {
    Pickle::read(&mut reader.take(MAX_PICKLE))
}

impl Storages for Legacy {
    fn read(&mut self, key: &str, length: u64, range: Range<u64>) -> Result<Vec<u8>> {
        match self.storages.get(key) {
            Some(&(first, found)) if found == length => {
                let sought = self.reader.seek(SeekFrom::Start(first + range.start));
                sought.map_err(|error| WeightsProblem::Damaged(error.to_string()))?;
                read_exactly(&mut self.reader, range.end - range.start, key)
            }
            Some((_, found)) => {
                let problem = format!("storage {key} has {found} bytes, but should have {length}");
                Err(WeightsProblem::Damaged(problem))
            }
            None => Err(WeightsProblem::Damaged(format!("storage {key} is missing"))),
        }
    }
}
