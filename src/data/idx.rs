//! IDX, the file format of MNIST and its relatives: an array behind a short header.
//!
//! Two zero bytes, a type byte, a rank byte, `rank` big-endian sizes of four bytes each, then the data, row-major and
//! big-endian. A file may be compressed as one gzip member.
//!
//! The reader does not trust the header, the length of the file or its name. A malformed file is an error, never a
//! panic, and memory grows with the data that are read, not with the size that the header declares.

use super::gzip::{Content, read_up_to};
use super::{Batch, InMemoryDataset, Targets, Values};
use crate::error::{DataError, IdxProblem, IoError};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Largest amount of decompressed data in bytes that is read from a file.
const MAX_BYTES: u64 = 2 << 30;

/// Number of bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 16;

impl InMemoryDataset {
    /// Opens MNIST or any other data set that consists of an IDX file of samples and one of labels, each plain or
    /// compressed with gzip (told apart by content, not by name), of at most 2 GiB each.
    ///
    /// Samples are u8 or f32 of the shape `[N, H, W]` (read as one channel), `[N, C, H, W]` or `[N, features]`; labels
    /// are u8 indices of `classes`.
    ///
    /// The files may be untrusted: a malformed file is an error, never a panic. They have to end where their data end,
    /// and gzip's checksums have to be correct.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`], [`DataError::DamagedGzip`], [`DataError::Idx`], also where the numbers of samples and
    /// labels differ or a label is not below the number of classes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use densenet::data::InMemoryDataset;
    ///
    /// let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    /// let (images, labels) = ("mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz");
    /// let mnist = InMemoryDataset::open_idx(images, labels, &digits)?;
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn open_idx(samples: impl AsRef<Path>, labels: impl AsRef<Path>, classes: &[&str]) -> Result<Self> {
        let (samples, labels) = (samples.as_ref(), labels.as_ref());
        let read = |path: &Path| IdxArray::read(open(path)?, path, MAX_BYTES);
        pair_dataset((samples, read(samples)?), (labels, read(labels)?), classes)
    }
}

/// Opens a file for reading; the error names it.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io("open", path))
}

/// Creates a data set from two arrays; errors name the files that they came from.
pub(super) fn pair_dataset(
    (samples_path, samples): (&Path, IdxArray),
    (labels_path, labels): (&Path, IdxArray),
    classes: &[&str],
) -> Result<InMemoryDataset> {
    let at = |path: &Path, problem| Error::Data(DataError::Idx { path: path.to_owned(), problem });
    let shape = samples.shape;
    let sample_shape = match shape[..] {
        [_, height, width] if height * width > 0 => vec![1, height, width],
        [_, ref sample @ ..] if matches!(sample.len(), 1 | 3) && !sample.contains(&0) => sample.to_vec(),
        _ => return Err(at(samples_path, IdxProblem::SampleShape { shape })),
    };
    let number = |bytes: &[u8]| f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let values = match samples.kind {
        "u8" => Values::U8(samples.data),
        "f32" => Values::F32(samples.data.chunks_exact(4).map(number).collect()),
        kind => return Err(at(samples_path, IdxProblem::SampleType { kind })),
    };
    if labels.kind != "u8" || labels.shape.len() != 1 {
        return Err(at(labels_path, IdxProblem::LabelShape { kind: labels.kind, shape: labels.shape }));
    }
    let labels = labels.data;
    if labels.len() != shape[0] {
        let (samples_path, samples) = (samples_path.to_owned(), shape[0]);
        return Err(at(labels_path, IdxProblem::CountsDiffer { samples_path, samples, labels: labels.len() }));
    }
    let targets: Vec<u32> = labels.into_iter().map(u32::from).collect();
    if let Some(position) = targets.iter().position(|&label| label as usize >= classes.len()) {
        let problem = IdxProblem::LabelOutOfRange { position, label: targets[position], classes: classes.len() };
        return Err(at(labels_path, problem));
    }
    InMemoryDataset::new(Batch::new(sample_shape, values, Targets::Classes(targets)), classes)
}

/// The content of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IdxArray {
    /// The element type by its Rust name.
    kind: &'static str,
    /// The sizes of the dimensions, of which there is at least one.
    shape: Vec<usize>,
    /// The elements, row-major and big-endian.
    data: Vec<u8>,
}

impl IdxArray {
    /// Reads IDX data, plain or compressed, to the end of the reader. Errors name `path`, which is not opened.
    fn read(reader: impl Read, path: &Path, max_bytes: u64) -> Result<Self> {
        read(reader, max_bytes, &mut |_| ()).map_err(|failure| failure.at(path))
    }

    /// Reads IDX data as above, and computes the SHA-256 of the decompressed content, header included, as lower-case
    /// hexadecimal digits.
    pub(super) fn read_with_digest(reader: impl Read, path: &Path) -> Result<(Self, String)> {
        let mut digest = Sha256::new();
        let array = read(reader, MAX_BYTES, &mut |bytes| digest.update(bytes));
        Ok((array.map_err(|failure| failure.at(path))?, hex::encode(digest.finalize())))
    }
}

/// An error that does not name its file yet.
enum Failure {
    Problem(IdxProblem),
    Gzip(io::Error),
    Io(io::Error),
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Failure::Problem(problem) => Error::Data(DataError::Idx { path, problem }),
            Failure::Gzip(source) => Error::Data(DataError::DamagedGzip { path, source }),
            Failure::Io(source) => Error::Io(IoError::Failed { action: "read", path, source }),
        }
    }
}

impl From<IdxProblem> for Failure {
    fn from(problem: IdxProblem) -> Self {
        Failure::Problem(problem)
    }
}

/// A function that fills a buffer with the next decompressed bytes, if any, and returns their number.
type Fill<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Failure> + 'a;

/// Reads the complete content; `seen` receives each decompressed byte once, in order.
fn read(reader: impl Read, max_bytes: u64, seen: &mut dyn FnMut(&[u8])) -> Result<IdxArray, Failure> {
    let mut content = Content::new(reader).map_err(Failure::Io)?;
    let is_gzip = content.is_gzip();
    // The decompressor's own errors come without an error number of the operating system.
    let failure = |error: io::Error| match is_gzip && error.raw_os_error().is_none() {
        true => Failure::Gzip(error),
        false => Failure::Io(error),
    };
    let mut fill = |buffer: &mut [u8]| -> Result<usize, Failure> {
        let count = read_up_to(&mut content, buffer).map_err(failure)?;
        seen(&buffer[..count]);
        Ok(count)
    };
    let header = Header::read(&mut fill)?;
    let expected = header.data_bytes(max_bytes)?;
    let data = read_data(expected, &mut fill)?;
    // Reading on to the end also makes the decompressor compare checksum and length.
    if fill(&mut [0])? != 0 {
        return Err(IdxProblem::TrailingBytes { expected }.into());
    }
    match content.after_end().map_err(failure)? {
        Some(problem) => Err(problem.into()),
        None => {
            let shape = header.sizes.iter().map(|&size| size as usize).collect();
            Ok(IdxArray { kind: header.kind, shape, data })
        }
    }
}

/// The header of an IDX file: the element type by its Rust name, its width in bytes, and the sizes.
struct Header {
    kind: &'static str,
    bytes_each: usize,
    sizes: Vec<u32>,
}

impl Header {
    fn read(fill: &mut Fill) -> Result<Self, Failure> {
        let mut magic = [0; 4];
        let length = fill(&mut magic)?;
        if is_web_page(&magic[..length]) {
            return Err(IdxProblem::WebPage.into());
        }
        if length < magic.len() {
            return Err(IdxProblem::ShortHeader { bytes: length }.into());
        }
        let [0, 0, code, rank] = magic else { return Err(IdxProblem::NotIdx { magic }.into()) };
        let (kind, bytes_each) = match code {
            0x08 => ("u8", 1),
            0x09 => ("i8", 1),
            0x0b => ("i16", 2),
            0x0c => ("i32", 4),
            0x0d => ("f32", 4),
            0x0e => ("f64", 8),
            code => return Err(IdxProblem::UnknownType { code }.into()),
        };
        if rank == 0 {
            return Err(IdxProblem::NoDimensions.into());
        }
        let mut bytes = vec![0; 4 * usize::from(rank)];
        let length = fill(&mut bytes)?;
        if length < bytes.len() {
            return Err(IdxProblem::ShortHeader { bytes: magic.len() + length }.into());
        }
        let sizes = bytes.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]));
        Ok(Header { kind, bytes_each, sizes: sizes.collect() })
    }

    /// Returns the number of bytes of data, which is at most `limit_bytes`.
    fn data_bytes(&self, limit_bytes: u64) -> Result<u64, IdxProblem> {
        let bytes_each = self.bytes_each;
        // The product of the other sizes must not overflow either where one size is 0.
        let others = self.sizes.iter().filter(|&&size| size != 0);
        let bytes = others.clone().try_fold(bytes_each as u64, |product, &size| product.checked_mul(size.into()));
        match bytes {
            Some(bytes) if bytes <= limit_bytes && usize::try_from(bytes).is_ok() => {
                Ok(if others.count() == self.sizes.len() { bytes } else { 0 })
            }
            _ => Err(IdxProblem::TooLarge { sizes: self.sizes.clone(), bytes_each, limit_bytes }),
        }
    }
}

/// Reads the data in chunks; memory at most doubles when the data read so far have filled it.
fn read_data(bytes: u64, fill: &mut Fill) -> Result<Vec<u8>, Failure> {
    let expected = bytes as usize;
    let mut data: Vec<u8> = Vec::new();
    while data.len() < expected {
        let start = data.len();
        let wanted = (expected - start).min(CHUNK_BYTES);
        if data.capacity() - start < wanted {
            let more = start.clamp(wanted, expected - start);
            data.try_reserve_exact(more).map_err(|_| IdxProblem::OutOfMemory { bytes })?;
        }
        data.resize(start + wanted, 0);
        let got = fill(&mut data[start..])?;
        if got < wanted {
            return Err(IdxProblem::ShortData { expected: bytes, actual: (start + got) as u64 }.into());
        }
    }
    Ok(data)
}

/// Whether a file begins like HTML or XML: with `<`, possibly after a byte order mark and blanks.
fn is_web_page(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    text.trim_ascii_start().first() == Some(&b'<')
}
