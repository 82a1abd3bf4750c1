//! A reader of content that may be compressed with gzip, which it detects by the first bytes.

use crate::error::IdxProblem;
use flate2::bufread::GzDecoder;
use std::io::{BufReader, Chain, Cursor, Read, Result};

type Source<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Content that may be compressed, as exactly one gzip member.
pub(super) enum Content<R: Read> {
    Plain(Source<R>),
    Gzip(Box<GzDecoder<Source<R>>>),
}

impl<R: Read> Content<R> {
    pub(super) fn new(mut reader: R) -> Result<Self> {
        let mut start = vec![0; 2];
        let length = read_up_to(&mut reader, &mut start)?;
        start.truncate(length);
        let compressed = start == [0x1f, 0x8b];
        let source = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(reader));
        Ok(if compressed { Content::Gzip(Box::new(GzDecoder::new(source))) } else { Content::Plain(source) })
    }

    pub(super) fn is_gzip(&self) -> bool {
        matches!(self, Content::Gzip(_))
    }

    /// Checks that nothing follows a gzip member that was read to its end.
    pub(super) fn after_end(self) -> Result<Option<IdxProblem>> {
        let mut source = match self {
            Content::Plain(_) => return Ok(None),
            Content::Gzip(decoder) => decoder.into_inner(),
        };
        let mut next = [0; 2];
        Ok(match read_up_to(&mut source, &mut next)? {
            0 => None,
            2 if next == [0x1f, 0x8b] => Some(IdxProblem::SeveralGzipMembers),
            _ => Some(IdxProblem::BytesAfterGzip),
        })
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Content::Plain(source) => source.read(buffer),
            Content::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// Fills the buffer until it is full or the reader ends, and returns the number of bytes.
pub(super) fn read_up_to(reader: &mut impl Read, mut buffer: &mut [u8]) -> Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}
