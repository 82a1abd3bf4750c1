//! The header of an IDX file, and the data that it announces.

use super::read::Failure;
use super::{IdxArray, IdxLimits};
use crate::error::IdxProblem;
use byteorder::{BigEndian, ByteOrder};
use ndarray::{ArrayD, IxDyn};

/// Fills a buffer with the next decompressed bytes as far as there are any, and says how far.
pub(super) type Fill<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Failure> + 'a;

/// Element type and sizes.
pub(super) struct Header {
    kind: u8,
    sizes: Vec<u32>,
}

impl Header {
    pub(super) fn read(fill: &mut Fill) -> Result<Self, Failure> {
        let mut magic = [0; 4];
        let length = fill(&mut magic)?;
        if is_web_page(&magic[..length]) {
            return Err(IdxProblem::WebPage.into());
        }
        if length < magic.len() {
            return Err(IdxProblem::ShortHeader { bytes: length }.into());
        }
        let [0, 0, kind, rank] = magic else { return Err(IdxProblem::NotIdx { magic }.into()) };
        bytes_each(kind)?;
        if rank == 0 {
            return Err(IdxProblem::NoDimensions.into());
        }
        let mut bytes = vec![0; 4 * usize::from(rank)];
        let length = fill(&mut bytes)?;
        if length < bytes.len() {
            return Err(IdxProblem::ShortHeader { bytes: magic.len() + length }.into());
        }
        let mut sizes = vec![0; usize::from(rank)];
        BigEndian::read_u32_into(&bytes, &mut sizes);
        Ok(Header { kind, sizes })
    }

    /// The number of bytes of data.
    pub(super) fn bytes(&self, limits: IdxLimits) -> Result<u64, IdxProblem> {
        let bytes_each = bytes_each(self.kind)?;
        let too_large =
            || IdxProblem::TooLarge { sizes: self.sizes.clone(), bytes_each, limit_bytes: limits.max_bytes };
        // A size of 0 does not excuse the others: ndarray counts without it too.
        let others = self.sizes.iter().filter(|&&size| size != 0);
        let bytes = others.clone().try_fold(bytes_each as u64, |product, &size| product.checked_mul(size.into()));
        match bytes {
            Some(bytes) if bytes <= limits.max_bytes && usize::try_from(bytes).is_ok() => {
                Ok(if others.count() == self.sizes.len() { bytes } else { 0 })
            }
            _ => Err(too_large()),
        }
    }

    /// Reads the data behind the header.
    pub(super) fn data(&self, limits: IdxLimits, fill: &mut Fill) -> Result<IdxArray, Failure> {
        let bytes = self.bytes(limits)?;
        Ok(match self.kind {
            0x08 => IdxArray::U8(self.array(bytes, fill, |from, to| to.copy_from_slice(from))?),
            0x09 => IdxArray::I8(self.array(bytes, fill, |from, to| {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from as i8);
            })?),
            0x0b => IdxArray::I16(self.array(bytes, fill, BigEndian::read_i16_into)?),
            0x0c => IdxArray::I32(self.array(bytes, fill, BigEndian::read_i32_into)?),
            0x0d => IdxArray::F32(self.array(bytes, fill, BigEndian::read_f32_into)?),
            0x0e => IdxArray::F64(self.array(bytes, fill, BigEndian::read_f64_into)?),
            code => return Err(IdxProblem::UnknownType { code }.into()),
        })
    }

    /// Reads the data chunk by chunk; the memory at most doubles when the data that came have filled it.
    fn array<T: Clone + Default>(
        &self,
        bytes: u64,
        fill: &mut Fill,
        convert: fn(&[u8], &mut [T]),
    ) -> Result<ArrayD<T>, Failure> {
        let width = size_of::<T>();
        let count = bytes as usize / width;
        let mut chunk = vec![0; CHUNK_BYTES.min(bytes as usize)];
        let mut values: Vec<T> = Vec::new();
        while values.len() < count {
            let wanted = (count - values.len()).min(CHUNK_BYTES / width);
            let got = fill(&mut chunk[..wanted * width])?;
            if got < wanted * width {
                let actual = (values.len() * width + got) as u64;
                return Err(IdxProblem::ShortData { expected: bytes, actual }.into());
            }
            if values.capacity() - values.len() < wanted {
                let more = values.len().clamp(wanted, count - values.len());
                values.try_reserve_exact(more).map_err(|_| IdxProblem::OutOfMemory { bytes })?;
            }
            let start = values.len();
            values.resize(start + wanted, T::default());
            convert(&chunk[..wanted * width], &mut values[start..]);
        }
        let shape: Vec<usize> = self.sizes.iter().map(|&size| size as usize).collect();
        let too_large = |_| IdxProblem::TooLarge { sizes: self.sizes.clone(), bytes_each: width, limit_bytes: bytes };
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(too_large)?)
    }
}

/// A multiple of every element's width.
const CHUNK_BYTES: usize = 1 << 16;

fn bytes_each(kind: u8) -> Result<usize, IdxProblem> {
    match kind {
        0x08 | 0x09 => Ok(1),
        0x0b => Ok(2),
        0x0c | 0x0d => Ok(4),
        0x0e => Ok(8),
        code => Err(IdxProblem::UnknownType { code }),
    }
}

/// HTML and XML begin with `<`, after a byte order mark or blanks at most; IDX begins with two zeros.
fn is_web_page(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    text.trim_ascii_start().first() == Some(&b'<')
}
