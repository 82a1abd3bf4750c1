//! The format of PyTorch 1.6 and later: a zip archive with the pickle and one entry per storage.

use super::storages::{MAX_PICKLE, Storages, read_exactly};
use super::values::{Pickle, Result};
use crate::error::WeightsProblem;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config, ZipFile, ZipReadOptions};

type Archive = ZipArchive<BufReader<File>>;

/// The archive, with the folder in it that has all entries.
pub(super) struct Zipped {
    archive: Archive,
    folder: String,
}

/// What a zip archive without a pickle is.
const OTHER_ARCHIVE: &str = "a zip archive of something else, such as .npz or .keras";

/// Finds and reads the pickle.
pub(super) fn open(reader: BufReader<File>) -> Result<(Pickle, Zipped)> {
    // The archive begins where the file does. A search for its beginning is misled by some lengths of the file's name.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, reader).map_err(damaged)?;
    let names = archive.file_names().collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    let mut folders = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
    let folder = match (folders.next(), folders.next()) {
        (Some(folder), None) => folder.to_owned(),
        // A zip archive of something else.
        (None, _) => return Err(WeightsProblem::Format { looks_like: Some(OTHER_ARCHIVE) }),
        (Some(_), Some(_)) => return Err(WeightsProblem::Damaged("it has several data.pkl".to_owned())),
    };
    drop(names);
    // Files of older versions lack this entry, and are little-endian.
    if let Ok(mut entry) = entry(&mut archive, &format!("{folder}byteorder")) {
        let mut order = String::new();
        entry.by_ref().take(16).read_to_string(&mut order).map_err(|error| damaged(error.into()))?;
        if order != "little" {
            return Err(WeightsProblem::Damaged(format!("its byte order is {order:?}, and \"little\" is read")));
        }
    }
    let entry = entry(&mut archive, &format!("{folder}data.pkl"))?;
    if entry.size() > MAX_PICKLE {
        let (what, value) = ("the size of its pickle", entry.size());
        return Err(WeightsProblem::TooLarge { what, value, limit: MAX_PICKLE });
    }
    let mut reader = BufReader::new(entry.take(MAX_PICKLE));
    let pickle = Pickle::read(&mut reader)?;
    // The checksum is compared at the end.
    let rest = io::copy(&mut reader, &mut io::sink()).map_err(|error| damaged(error.into()))?;
    if rest > 0 {
        return Err(WeightsProblem::Damaged(format!("{rest} bytes follow its pickle")));
    }
    drop(reader);
    Ok((pickle, Zipped { archive, folder }))
}

/// Opens an entry. Its checksum is compared when its end is read, unless the field is 0: so PyTorch marks an entry
/// without a checksum.
fn entry<'a>(archive: &'a mut Archive, name: &str) -> Result<ZipFile<'a, BufReader<File>>> {
    let missing = || WeightsProblem::Damaged(format!("its entry {name} is missing"));
    let index = archive.index_for_name(name).ok_or_else(missing)?;
    let has_checksum = archive.by_index_data(index).map_err(damaged)?.crc32() != 0;
    archive.by_index_with_options(index, ZipReadOptions::new().ignore_crc32(!has_checksum)).map_err(damaged)
}

impl Storages for Zipped {
    fn read(&mut self, key: &str, length: u64, range: Range<u64>) -> Result<Vec<u8>> {
        let mut entry = entry(&mut self.archive, &format!("{}data/{key}", self.folder))?;
        if entry.size() != length {
            let problem = format!("storage {key} has {} bytes, but should have {length}", entry.size());
            return Err(WeightsProblem::Damaged(problem));
        }
        io::copy(&mut entry.by_ref().take(range.start), &mut io::sink()).map_err(|error| damaged(error.into()))?;
        let bytes = read_exactly(&mut entry, range.end - range.start, key)?;
        // The checksum is compared at the end.
        io::copy(&mut entry, &mut io::sink()).map_err(|error| damaged(error.into()))?;
        Ok(bytes)
    }
}

fn damaged(error: zip::result::ZipError) -> WeightsProblem {
    WeightsProblem::Damaged(error.to_string())
}
