//! How samples in memory can fail to fit together.

/// What is wrong with samples and their targets; the `problem` of [`Error::Samples`](super::Error::Samples) and
/// [`Error::WrongBatch`](super::Error::WrongBatch).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchProblem {
    /// A sample shape that holds nothing, or more than can be counted.
    #[error("a sample of shape {sample_shape:?} holds no values, or too many to count")]
    SampleShape {
        /// The shape of one sample.
        sample_shape: Vec<usize>,
    },
    /// Another number of values than samples and shape ask for.
    #[error("{samples} samples of shape {sample_shape:?} do not make {values} values")]
    ValueCount {
        /// The number of samples, which is that of the targets.
        samples: usize,
        /// The shape of one sample.
        sample_shape: Vec<usize>,
        /// The number of values.
        values: usize,
    },
    /// Target numbers that do not divide into rows.
    #[error("{numbers} target numbers do not divide into rows of {width}")]
    TargetWidth {
        /// How many numbers there are.
        numbers: usize,
        /// How many belong to one sample.
        width: usize,
    },
    /// A class that does not exist.
    #[error("sample {position} is of class {class}, but there are only {classes} classes, counted from 0")]
    ClassOutOfRange {
        /// Position of the sample, from 0.
        position: usize,
        /// Its class.
        class: u32,
        /// The number of classes.
        classes: usize,
    },
    /// Another number of class names than of target numbers a sample.
    #[error("there are {classes} class names, but {width} target numbers a sample")]
    ClassesWithoutTargets {
        /// The number of names.
        classes: usize,
        /// How many target numbers belong to one sample.
        width: usize,
    },
    /// Another number of samples than was asked for.
    #[error("{actual} samples came, but {expected} were asked for")]
    SampleCount {
        /// How many were asked for.
        expected: usize,
        /// How many came.
        actual: usize,
    },
    /// Samples of another shape than the data set says.
    #[error("samples of shape {actual:?} came, but the data set says {expected:?}")]
    OtherShape {
        /// What the data set says.
        expected: Vec<usize>,
        /// What came.
        actual: Vec<usize>,
    },
}
