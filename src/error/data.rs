//! Errors in samples, data sets or their files.

use super::join;
use super::{BatchProblem, Error, FolderProblem, IdxProblem};
use std::path::PathBuf;

/// Errors in samples, data sets or their files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A sample index is not below the number of samples.
    #[error("there is no sample {index}: the data set has {len}, counted from 0")]
    IndexOutOfRange {
        /// The requested 0-based index.
        index: usize,
        /// The number of samples.
        len: usize,
    },
    /// The data set has no samples.
    #[error("the data set has no samples")]
    EmptyDataset,
    /// One part of a split would be empty.
    #[error("holding back {validation} of {samples} samples leaves one side empty")]
    EmptySplit {
        /// The number of samples before the split.
        samples: usize,
        /// The number of samples held back for validation.
        validation: usize,
    },
    /// Samples and targets do not fit together.
    #[error("samples and targets do not fit together: {problem}")]
    Samples {
        /// The problem with the samples.
        problem: BatchProblem,
    },
    /// A sample is unavailable. For data sets of your own; those of this crate return more precise variants.
    #[error("sample {index} is unavailable")]
    SampleUnavailable {
        /// The 0-based index of the sample.
        index: usize,
        /// The cause of the failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A data set returned a batch or targets other than requested.
    #[error("the data set returned a wrong batch for {}: {problem}", requested(indices, *epoch))]
    WrongBatch {
        /// The 0-based indices of the requested samples; empty where the targets of all samples were requested.
        indices: Vec<usize>,
        /// The 0-based index of the epoch that the samples were requested for; 0 outside of training.
        epoch: u64,
        /// What is wrong with the batch.
        problem: BatchProblem,
    },
    /// A data set panicked while it fetched samples or targets.
    #[error("the data set panicked while it fetched {}: {message}", requested(indices, *epoch))]
    DatasetPanicked {
        /// The 0-based indices of the requested samples; empty where the targets of all samples were requested.
        indices: Vec<usize>,
        /// The 0-based index of the epoch that the samples were requested for; 0 outside of training.
        epoch: u64,
        /// The message of the panic.
        message: String,
    },
    /// The operating system did not start a worker thread of the loader.
    #[error("cannot start thread {worker} of the loader")]
    WorkerStart {
        /// The 0-based index of the worker.
        worker: usize,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file is not the expected IDX file.
    #[error("{}: {problem}", path.display())]
    Idx {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the batch.
        problem: IdxProblem,
    },
    /// A file is not one of CIFAR's binary format.
    #[error("{}: {problem}", path.display())]
    Cifar {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A gzip file is truncated, or its checksum or length is wrong.
    #[error("{} is a damaged gzip file", path.display())]
    DamagedGzip {
        /// Path of the file.
        path: PathBuf,
        /// The error of the decompressor.
        source: std::io::Error,
    },
    /// An intact file has the expected name but other content: that of another data set, since MNIST and its relatives
    /// use the same names.
    #[error(
        "{} is an intact file of another data set: as {name} of {dataset} its content would have the SHA-256 {expected}, \
         but it has {actual}",
        path.display()
    )]
    OtherContent {
        /// Path of the file.
        path: PathBuf,
        /// The file's name in the data set.
        name: String,
        /// The name of the expected data set.
        dataset: String,
        /// The SHA-256 of the expected content, decompressed.
        expected: String,
        /// The SHA-256 of the actual content, decompressed.
        actual: String,
    },
    /// The data set is in none of the usual folders.
    #[error("{dataset} was not found; looked in: {}; {remedy}", join(looked_in.iter().map(|folder| folder.display())))]
    DatasetNotFound {
        /// The name of the data set.
        dataset: String,
        /// The folders in the order in which they were searched.
        looked_in: Vec<PathBuf>,
        /// What to do about it.
        remedy: &'static str,
    },
    /// No mirror delivered a file.
    #[error("cannot download {name}: {}", join(attempts.iter().map(|(url, error)| format!("{url}: {}", error.with_causes()))))]
    Download {
        /// Path of the file.
        name: String,
        /// The address of the file on each mirror and why it did not deliver, in the order in which they were tried.
        attempts: Vec<(String, Error)>,
    },
    /// A server responded with a status other than success.
    #[error("the server responded with status {status}")]
    ServerStatus {
        /// The HTTP status code.
        status: u16,
    },
    /// A connection failed, timed out or broke off.
    #[error("the connection failed")]
    Connection {
        /// The error of the HTTP client.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server sends more bytes than the file can have.
    #[error("the server sends more than {limit_bytes} bytes, which is more than the file can have")]
    DownloadTooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The validation or test set does not have the classes of the training set.
    #[error("the training set's classes are {train:?}, the {set}'s {other:?}")]
    ClassesDiffer {
        /// The training set's classes.
        train: Vec<String>,
        /// The other data set: "validation set" or "test set".
        set: &'static str,
        /// The other data set's classes.
        other: Vec<String>,
    },
    /// The folder of an image data set does not have the folders or files that it should have.
    #[error("folder of images {}: {problem}", path.display())]
    ImageFolder {
        /// Path of the folder.
        path: PathBuf,
        /// The problem with the folder.
        problem: FolderProblem,
    },
    /// A file of an image data set is no image, or a damaged one.
    #[error("the image {} cannot be used: {problem}", path.display())]
    ImageFile {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
    /// Files of an image data set are no images.
    #[error(
        "{count} files cannot be used as images, the first is {}: {problem}; remove them, or leave them out with \
         BadFilePolicy::Skip", path.display()
    )]
    BadFiles {
        /// The number of files.
        count: usize,
        /// Path of the first one.
        path: PathBuf,
        /// What is wrong with the first one.
        problem: String,
    },
    /// The images of a data set differ in size, and no size was chosen for the samples.
    #[error(
        "the images differ in size, {} has {}×{} pixels and {} has {}×{}: choose the size of the samples with \
         ImageConfig::with_size", path.display(), size[0], size[1], other.display(), other_size[0], other_size[1]
    )]
    MixedSizes {
        /// Path of the first image.
        path: PathBuf,
        /// Its height and width in pixels.
        size: [usize; 2],
        /// Path of the first image of another size.
        other: PathBuf,
        /// Its height and width in pixels.
        other_size: [usize; 2],
    },
    /// A table of images cannot be read.
    #[error("table {}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    ImageTable {
        /// Path of the table.
        path: PathBuf,
        /// The 1-based number of the line, where the problem is in one.
        line: Option<u64>,
        /// The problem with the table.
        problem: String,
    },
    /// An image cannot be decoded or used.
    #[error("an image cannot be read: {problem}")]
    Image {
        /// The cause of the failure.
        problem: String,
    },
}

/// Names the samples that were requested of a data set.
fn requested(indices: &[usize], epoch: u64) -> String {
    match indices {
        [] => "the targets of all samples".to_owned(),
        [index] => format!("sample {index} in epoch {epoch}"),
        [a, b, c, rest @ ..] if !rest.is_empty() => {
            format!("samples {a}, {b}, {c} and {} more in epoch {epoch}", rest.len())
        }
        few => format!("samples {} in epoch {epoch}", join(few)),
    }
}
