//! The ways in which samples and targets can fail to fit together.

/// A problem with samples and their targets; the `problem` of [`DataError::Samples`](super::DataError::Samples) and
/// [`DataError::WrongBatch`](super::DataError::WrongBatch).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchProblem {
    /// The sample shape has no elements, or more than can be counted.
    #[error("a sample of shape {sample_shape:?} holds no values, or too many to count")]
    SampleShape {
        /// The shape of one sample.
        sample_shape: Vec<usize>,
    },
    /// The number of values is not the number of samples times the size of one sample.
    #[error("{samples} samples of shape {sample_shape:?} do not make {values} values")]
    ValueCount {
        /// The number of samples, taken from the targets.
        samples: usize,
        /// The shape of one sample.
        sample_shape: Vec<usize>,
        /// The number of values.
        values: usize,
    },
    /// The number of target values is not a multiple of their width.
    #[error("{numbers} target numbers do not divide into rows of {width}")]
    TargetWidth {
        /// The number of target values.
        numbers: usize,
        /// The number of target values per sample.
        width: usize,
    },
    /// A target is a class index that does not exist.
    #[error("sample {position} is of class {class}, but there are only {classes} classes, counted from 0")]
    ClassOutOfRange {
        /// The 0-based position of the sample.
        position: usize,
        /// The class index of the sample.
        class: u32,
        /// The number of classes.
        classes: usize,
    },
    /// The number of class names is not the number of target values per sample.
    #[error("there are {classes} class names, but {width} target values per sample")]
    ClassesWithoutTargets {
        /// The number of class names.
        classes: usize,
        /// The number of target values per sample.
        width: usize,
    },
    /// The batch does not have the requested number of samples.
    #[error("the batch has {actual} samples, but {expected} were requested")]
    SampleCount {
        /// The requested number of samples.
        expected: usize,
        /// The number of samples in the batch.
        actual: usize,
    },
    /// Some of a data set's targets are class indices and others are values, or they differ in width.
    #[error("some targets are class indices and others are values, or their numbers per sample differ")]
    MixedTargets,
    /// The samples do not have the shape that the data set declares.
    #[error("the batch has samples of shape {actual:?}, but the data set declares {expected:?}")]
    OtherShape {
        /// The shape that the data set declares.
        expected: Vec<usize>,
        /// The shape of the samples in the batch.
        actual: Vec<usize>,
    },
}
