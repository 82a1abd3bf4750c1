//! How an IDX file can be wrong.

use std::path::PathBuf;

/// What is wrong with an IDX file, or with a pair of them; the `problem` of [`Error::Idx`](super::Error::Idx).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    // --- the container ---
    /// A page of HTML or XML, typically an error page that was stored under the file's name.
    #[error("this looks like a web page, not an IDX file: what was downloaded was probably an error or login page")]
    WebPage,
    /// A second gzip member after the first.
    #[error("a second gzip member follows the first; an IDX file is exactly one")]
    SeveralGzipMembers,
    /// Bytes after the only gzip member.
    #[error("there are bytes after the end of the gzip data")]
    BytesAfterGzip,

    // --- the header ---
    /// The file ends inside the header.
    #[error("the file ends after {bytes} bytes, inside the header")]
    ShortHeader {
        /// How many bytes there are, decompressed.
        bytes: usize,
    },
    /// The first two bytes are not zero.
    #[error("this is not an IDX file: it begins with the bytes {magic:02x?}, but the first two have to be zero")]
    NotIdx {
        /// The first four bytes.
        magic: [u8; 4],
    },
    /// A type byte that means nothing.
    #[error("the type byte is {code:#04x}, which is none of 08, 09, 0b, 0c, 0d, 0e")]
    UnknownType {
        /// The third byte of the file.
        code: u8,
    },
    /// A rank of 0.
    #[error("the header has a rank of 0: there are no dimensions")]
    NoDimensions,
    /// More than is allowed, or than can be counted.
    #[error(
        "the header promises {sizes:?} values of {bytes_each} bytes, more than the limit of {limit_bytes} bytes in all"
    )]
    TooLarge {
        /// The sizes of the dimensions.
        sizes: Vec<u32>,
        /// The width of the element type in bytes.
        bytes_each: usize,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The system gave no memory.
    #[error("there is no memory for {bytes} bytes")]
    OutOfMemory {
        /// How much was needed.
        bytes: u64,
    },

    // --- the data ---
    /// The data end too early.
    #[error("the header promises {expected} bytes of data, but there are only {actual}")]
    ShortData {
        /// What the header promises, in bytes.
        expected: u64,
        /// What is there, in bytes.
        actual: u64,
    },
    /// The data go on.
    #[error("the header promises {expected} bytes of data, but more follow")]
    TrailingBytes {
        /// What the header promises, in bytes.
        expected: u64,
    },

    // --- a pair of samples and labels ---
    /// Samples of an element type that no data set here holds.
    #[error("the samples are of type {kind}, but have to be u8 or f32")]
    SampleType {
        /// The element type.
        kind: &'static str,
    },
    /// Samples without dimensions of their own.
    #[error("the samples have the shape {shape:?}, but have to be [N, H, W], [N, C, H, W] or [N, features]")]
    SampleShape {
        /// The whole shape.
        shape: Vec<usize>,
    },
    /// Labels that are not a list of bytes.
    #[error("the labels are of type {kind} and shape {shape:?}, but have to be of type u8 and shape [N]")]
    LabelShape {
        /// The element type.
        kind: &'static str,
        /// The whole shape.
        shape: Vec<usize>,
    },
    /// Samples and labels of different counts.
    #[error("there are {labels} labels here, but {samples} samples in {}", samples_path.display())]
    CountsDiffer {
        /// The file with the samples.
        samples_path: PathBuf,
        /// How many samples there are.
        samples: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// A label that is no class.
    #[error("label {position} is {label}, but there are only {classes} classes, counted from 0")]
    LabelOutOfRange {
        /// Position in the file, from 0.
        position: usize,
        /// The label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },
}
