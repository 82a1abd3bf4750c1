//! The ways in which an IDX file can be wrong.

use std::path::PathBuf;

/// A problem with an IDX file, or with a pair of them; the `problem` of [`DataError::Idx`](super::DataError::Idx).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    // --- the container ---
    /// The file is a page of HTML or XML, typically an error page that was saved under the file's name.
    #[error("this looks like a web page, not an IDX file: what was downloaded was probably an error or login page")]
    WebPage,
    /// A second gzip member follows the first.
    #[error("a second gzip member follows the first; an IDX file is exactly one")]
    SeveralGzipMembers,
    /// There are bytes after the gzip member.
    #[error("there are bytes after the end of the gzip data")]
    BytesAfterGzip,

    // --- the header ---
    /// The file ends inside the header.
    #[error("the file ends after {bytes} bytes, inside the header")]
    ShortHeader {
        /// The number of bytes in the file, decompressed.
        bytes: usize,
    },
    /// The first two bytes are not zero.
    #[error("this is not an IDX file: it begins with the bytes {magic:02x?}, but the first two have to be zero")]
    NotIdx {
        /// The first four bytes of the file.
        magic: [u8; 4],
    },
    /// The type byte stands for no element type.
    #[error("the type byte is {code:#04x}, which is none of 08, 09, 0b, 0c, 0d, 0e")]
    UnknownType {
        /// The third byte of the file.
        code: u8,
    },
    /// The header declares a rank of 0.
    #[error("the header has a rank of 0: there are no dimensions")]
    NoDimensions,
    /// The header declares more data than is allowed.
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
    /// There is not enough memory for the data.
    #[error("there is no memory for {bytes} bytes")]
    OutOfMemory {
        /// The number of bytes that were needed.
        bytes: u64,
    },

    // --- the data ---
    /// The file ends before the data are complete.
    #[error("the header promises {expected} bytes of data, but there are only {actual}")]
    ShortData {
        /// The number of bytes that the header declares.
        expected: u64,
        /// The number of bytes in the file.
        actual: u64,
    },
    /// The file has more data than the header declares.
    #[error("the header promises {expected} bytes of data, but more follow")]
    TrailingBytes {
        /// The number of bytes that the header declares.
        expected: u64,
    },

    // --- a pair of samples and labels ---
    /// The samples have an element type other than u8 and f32.
    #[error("the samples are of type {kind}, but have to be u8 or f32")]
    SampleType {
        /// The element type in the file.
        kind: &'static str,
    },
    /// The samples have a shape that stands for no images or features.
    #[error("the samples have the shape {shape:?}, but have to be [N, H, W], [N, C, H, W] or [N, features]")]
    SampleShape {
        /// The shape of the array in the file.
        shape: Vec<usize>,
    },
    /// The labels are not a one-dimensional array of bytes.
    #[error("the labels are of type {kind} and shape {shape:?}, but have to be of type u8 and shape [N]")]
    LabelShape {
        /// The element type in the file.
        kind: &'static str,
        /// The shape of the array in the file.
        shape: Vec<usize>,
    },
    /// The numbers of samples and labels differ.
    #[error("there are {labels} labels here, but {samples} samples in {}", samples_path.display())]
    CountsDiffer {
        /// Path of the file with the samples.
        samples_path: PathBuf,
        /// The number of samples in that file.
        samples: usize,
        /// The number of labels in this file.
        labels: usize,
    },
    /// A label is not below the number of classes.
    #[error("label {position} is {label}, but there are only {classes} classes, counted from 0")]
    LabelOutOfRange {
        /// The 0-based position of the label in the file.
        position: usize,
        /// The value of the label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },
}
