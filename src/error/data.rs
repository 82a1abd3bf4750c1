//! What is wrong with samples, a data set, or a file of one.

use super::join;
use super::{BatchProblem, DownloadProblem, IdxProblem};
use std::path::PathBuf;

/// What is wrong with samples, a data set, or a file of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A sample index that is not below the number of samples.
    #[error("there is no sample {index}: the data set has {len}, counted from 0")]
    IndexOutOfRange {
        /// The index that was asked for.
        index: usize,
        /// The number of samples.
        len: usize,
    },
    /// A data set without samples where some are needed.
    #[error("the data set has no samples")]
    EmptyDataset,
    /// A split of which one side would be empty.
    #[error("holding back {validation} of {samples} samples leaves one side empty")]
    EmptySplit {
        /// The number of samples in all.
        samples: usize,
        /// The number for validation.
        validation: usize,
    },
    /// Samples and targets that do not fit together.
    #[error("samples and targets do not fit together: {problem}")]
    Samples {
        /// In which way.
        problem: BatchProblem,
    },
    /// A sample that a data set of your own cannot deliver; the crate's own data sets have more precise variants.
    #[error("sample {index} is unavailable")]
    SampleUnavailable {
        /// The sample's index.
        index: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A data set answered with something else than it was asked for.
    #[error("the data set returned a wrong batch at position {position} of epoch {epoch}: {problem}")]
    WrongBatch {
        /// The epoch, from 0.
        epoch: u64,
        /// How many samples of the epoch come before the batch.
        position: usize,
        /// In which way it is wrong.
        problem: BatchProblem,
    },
    /// A data set panicked while it fetched a batch.
    #[error("the data set panicked at position {position} of epoch {epoch}: {message}")]
    DatasetPanicked {
        /// The epoch, from 0.
        epoch: u64,
        /// How many samples of the epoch come before the batch.
        position: usize,
        /// What the panic said.
        message: String,
    },
    /// The system gave no thread.
    #[error("cannot start thread {worker} of the loader")]
    WorkerStart {
        /// The worker's number, from 0.
        worker: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file that is not the IDX file it should be.
    #[error("{}: {problem}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// In which way it is wrong.
        problem: IdxProblem,
    },
    /// Gzip data that are cut short or whose checksum or length is wrong.
    #[error("{} is a damaged gzip file", path.display())]
    DamagedGzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        source: std::io::Error,
    },
    /// A file of the right name and form with other content: another data set's, since MNIST and others use the same names.
    #[error(
        "{} is an intact file of another data set: as {name} of {dataset} its content would have the SHA-256 {expected}, \
         but it has {actual}",
        path.display()
    )]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// The file's name in the data set.
        name: String,
        /// The data set that was asked for.
        dataset: String,
        /// The SHA-256 of the right content, decompressed.
        expected: String,
        /// The SHA-256 of the actual content, decompressed.
        actual: String,
    },
    /// A data set that is in none of the usual places.
    #[error("{dataset} was not found; looked in: {}; {remedy}", join(looked_in.iter().map(|folder| folder.display())))]
    DatasetNotFound {
        /// The data set.
        dataset: String,
        /// The folders, in the order in which they were looked at.
        looked_in: Vec<PathBuf>,
        /// What helps.
        remedy: &'static str,
    },
    /// No mirror delivered a file.
    #[error("cannot download {name}: {}", join(attempts.iter().map(|(url, problem)| format!("{url}: {problem}"))))]
    Download {
        /// The file.
        name: String,
        /// The address of the file on each mirror and why it did not deliver, in the order in which they were tried.
        attempts: Vec<(String, DownloadProblem)>,
    },
    /// Another data set of a run has other classes than its training set.
    #[error("the training set's classes are {train:?}, the {set}'s {other:?}")]
    ClassesDiffer {
        /// The training set's classes.
        train: Vec<String>,
        /// The other data set: "validation set" or "test set".
        set: &'static str,
        /// The other data set's classes.
        other: Vec<String>,
    },
    /// Bytes that are no image which is read.
    #[error("an image cannot be read: {problem}")]
    Image {
        /// Why.
        problem: String,
    },
}
