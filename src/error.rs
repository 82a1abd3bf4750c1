//! The one error type of the crate.
//!
//! One enum, so that a program matches on one type whatever it calls; what a part of the crate has to say in detail is in a file of its own
//! under `error/`. It is long since every field is documented.
//!
//! Every variant names the thing that was wrong and the value it had. The cause, where there is one,
//! is in [`source`](std::error::Error::source) and is not repeated in the text.

use std::path::PathBuf;

mod batch;
mod checkpoint;
mod download;
mod idx;
mod weights;

pub use batch::BatchProblem;
pub use checkpoint::{CheckpointProblem, Difference};
pub use download::{DownloadAttempt, DownloadProblem};
pub use idx::IdxProblem;
pub use weights::WeightsProblem;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- files ---------------------------------------------------------------------------------
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb: "read", "create", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A disk, or what of it the user may have, is full.
    #[error("cannot write {}: it takes {needed} bytes, and {free} are free", path.display())]
    DiskFull {
        /// The file, of which nothing stays.
        path: PathBuf,
        /// Its size in bytes.
        needed: u64,
        /// Bytes that are free in its folder without it.
        free: u64,
        /// What the operating system said.
        source: std::io::Error,
    },

    // --- configuration ---------------------------------------------------------------------------
    /// A field of a configuration has a value that makes no sense.
    #[error("{field} is {value}, but has to be {expected}")]
    InvalidConfig {
        /// The field, in words.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A number derived from a configuration is too large.
    #[error("{what} would be more than {limit}")]
    Overflow {
        /// Which number.
        what: &'static str,
        /// The most it may be.
        limit: usize,
    },
    /// A variable of this name is in the `VarStore` already.
    #[error("there is a variable {name:?} already: two modules were built at one path")]
    VariableExists {
        /// The full name.
        name: String,
    },

    /// A `VarStore` without a trainable variable was given to an optimizer.
    #[error("there is nothing to train: the VarStore holds no trainable variable")]
    NothingToTrain,
    /// A tensor of a saved state does not fit.
    #[error("state tensor {name:?}: {problem}")]
    StateMismatch {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },

    // --- data ------------------------------------------------------------------------------------
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
    #[error("cannot download {name}: {}", join(attempts))]
    Download {
        /// The file.
        name: String,
        /// What came of each mirror, in the order in which they were asked.
        attempts: Vec<DownloadAttempt>,
    },

    // --- model -----------------------------------------------------------------------------------
    /// An input of the wrong rank or number of channels.
    #[error("the input has shape {actual:?}, but has to have shape {expected}")]
    InputShape {
        /// The shape that was given.
        actual: Vec<i64>,
        /// The shape that was wanted, such as "[N, 3, H, W]".
        expected: String,
    },
    /// An image so small that a layer has nothing left.
    #[error(
        "input {height}×{width} is too small: nothing is left of it at {layer}; the smallest input is {smallest}×{smallest}"
    )]
    InputTooSmall {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// The first layer with an empty output.
        layer: String,
        /// The smallest side in pixels that works.
        smallest: usize,
    },
    /// A training batch that leaves a norm one value per channel, whose variance is undefined.
    #[error(
        "a training batch of {batch} at {height}×{width} leaves {layer} one value per channel, which cannot be \
         normalized: use larger batches, drop the last one, or use larger images"
    )]
    OneValuePerChannel {
        /// Samples in the batch.
        batch: usize,
        /// Height of the input in pixels.
        height: usize,
        /// Width of the input in pixels.
        width: usize,
        /// The first norm concerned.
        layer: String,
    },

    // --- weights ---------------------------------------------------------------------------------
    /// A file of weights that does not fit the model, or is none.
    #[error("weights {}: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: WeightsProblem,
    },

    // --- training --------------------------------------------------------------------------------
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
    /// A model has fewer outputs than the training set has classes.
    #[error("the model has {outputs} outputs, but the training set has {classes} classes: build it with {classes}")]
    TooFewOutputs {
        /// Number of outputs of the model.
        outputs: usize,
        /// Number of classes of the training set.
        classes: usize,
    },
    /// The loss of a step was NaN or infinite. The step's update was not made.
    #[error(
        "the loss is {loss} in step {step} of epoch {epoch}: lower the learning rate, or look for bad values in the data"
    )]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in that epoch, from 1.
        step: usize,
    },
    /// The loss of a batch in evaluation was NaN or infinite.
    #[error("the loss is {loss} in evaluation, in the batch that begins at sample {samples}")]
    NonFiniteEvaluation {
        /// The loss.
        loss: f64,
        /// Samples evaluated before that batch.
        samples: usize,
    },
    /// A loss that is no scalar.
    #[error("the loss has shape {shape:?}, but has to be a scalar: take its mean")]
    LossShape {
        /// Its shape.
        shape: Vec<i64>,
    },
    /// Something chooses by a metric of the validation set, and the run has no validation set.
    #[error(
        "{wanted_by} needs a validation set, so that the test set does not choose: pass one with Datasets::with_validation; \
         data::split_validation takes one from the training set"
    )]
    NoValidation {
        /// What needs the validation set.
        wanted_by: &'static str,
    },
    /// A monitor names a metric that the run does not have.
    #[error("there is no metric {name:?}: this run has {}", join(known))]
    UnknownMetric {
        /// The name that was given.
        name: String,
        /// The names of the metrics that the run has.
        known: Vec<String>,
    },
    /// A monitored metric has no value in an epoch, such as the accuracy where the targets are not classes.
    #[error("the metric {name:?} has no value on the validation set in epoch {epoch}, so that it cannot be monitored")]
    MetricHasNoValue {
        /// The name of the metric.
        name: String,
        /// 1-based epoch index.
        epoch: usize,
    },
    /// The operating system does not let the program handle SIGINT and SIGTERM.
    #[error("cannot handle SIGINT and SIGTERM")]
    Signals {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A run's folder that holds a run already.
    #[error("{} holds a run already ({file}): name another folder, or remove it", folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
        /// A file of that run.
        file: &'static str,
    },

    // --- prediction ---
    /// A sample of another shape than what is expected, or with other values than its shape says.
    #[error("a sample has the shape {actual:?}, but is to have {expected}")]
    SampleShape {
        /// The shape that was given, or that preprocess made of it.
        actual: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// A model's output for a sample is NaN or infinite.
    #[error("an output of the model is {output}: the sample has values that are no numbers, or the weights have")]
    NonFiniteOutput {
        /// The output.
        output: f32,
    },
    /// A model's output has not one row per sample.
    #[error("the model's output has shape {actual:?}, but has to have {samples} rows, one per sample")]
    OutputShape {
        /// Shape of the output.
        actual: Vec<i64>,
        /// Number of samples that went through the model.
        samples: usize,
    },
    /// The operating system did not start the thread of a predictor.
    #[error("cannot start the thread of a predictor")]
    PredictorStart {
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A model panicked.
    #[error("the model panicked: {message}")]
    ModelPanicked {
        /// What the panic said.
        message: String,
    },
    /// More wait for answers than may wait.
    #[error("the queue is full: {limit} samples wait already")]
    QueueFull {
        /// The most that may wait.
        limit: usize,
    },
    /// A predictor was asked after its end.
    #[error("the predictor has ended")]
    PredictorStopped,
    /// Bytes that are no image which is read.
    #[error("an image cannot be read: {problem}")]
    Image {
        /// Why.
        problem: String,
    },

    // --- checkpoints -----------------------------------------------------------------------------
    /// A file that is no checkpoint, or a state that cannot become one.
    #[error("checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: CheckpointProblem,
    },
    /// A folder that holds checkpoints, where a new run was to begin.
    #[error("{} holds checkpoints already: resume that run, or name another folder", folder.display())]
    CheckpointsExist {
        /// The folder.
        folder: PathBuf,
    },
    /// A checkpoint of a run with another configuration or other data.
    #[error("the checkpoint is of another run: {}; allow by name what may change", join(differences))]
    ConfigMismatch {
        /// What differs.
        differences: Vec<Difference>,
    },
    /// A run's folder that another run has.
    #[error("{} is in use by {holder}: one run at a time", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// Who has it, such as "process 123".
        holder: String,
    },

    // --- libtorch --------------------------------------------------------------------------------
    /// A call of the bridge to libtorch failed.
    #[error("{what}: libtorch says: {message}")]
    Libtorch {
        /// What was asked of libtorch.
        what: &'static str,
        /// Its message.
        message: String,
    },
    /// An [autograd function](crate::torch::Function) panicked.
    #[error("the {pass} pass of {function} panicked: {message}")]
    FunctionPanicked {
        /// The function's type.
        function: &'static str,
        /// "forward" or "backward".
        pass: &'static str,
        /// What the panic said.
        message: String,
    },
    /// A device that does not exist, or not here.
    #[error("device {name:?} cannot be used: {reason}")]
    Device {
        /// The name as it was given.
        name: String,
        /// Why not.
        reason: String,
    },

    /// A device without instructions for a precision.
    #[error("{device} has no instructions for bf16 (AVX512-BF16), so that it would be slower than f32")]
    Precision {
        /// The device's name.
        device: String,
    },
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn join(items: impl IntoIterator<Item: std::fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// The message and those of all causes, on one line: what a program prints before it ends.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<()> {
        match value {
            0 => Err(Error::InvalidConfig { field, value: "0".to_owned(), expected: "at least 1" }),
            _ => Ok(()),
        }
    }
}
