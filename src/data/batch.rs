//! A batch of samples as plain memory, before it becomes tensors on the training device.

use crate::error::BatchProblem;

/// The values of a batch's samples, one sample after the other, each in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Bytes, such as pixels from 0 to 255. They are converted on the training device.
    U8(Vec<u8>),
    /// Numbers, which are used without conversion.
    F32(Vec<f32>),
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Values::U8(values)
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Values::F32(values)
    }
}

impl Values {
    /// Returns the number of values of all samples.
    pub fn len(&self) -> usize {
        match self {
            Values::U8(v) => v.len(),
            Values::F32(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the values of the samples at `indices`, of `width` values each.
    pub(super) fn select(&self, width: usize, indices: &[usize]) -> Values {
        match self {
            Values::U8(bytes) => Values::U8(rows(bytes, width, indices)),
            Values::F32(numbers) => Values::F32(rows(numbers, width, indices)),
        }
    }
}

/// The targets of a batch's samples, which a model learns to predict.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// One class index per sample.
    Classes(Vec<u32>),
    /// `width` numbers per sample: soft labels, or the values of a regression.
    Values {
        /// The values, one sample after the other.
        data: Vec<f32>,
        /// Number of values per sample.
        width: usize,
    },
}

impl Targets {
    /// Returns the number of samples that these targets belong to.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(classes) => classes.len(),
            Targets::Values { data, width } => data.len() / (*width).max(1),
        }
    }

    /// Whether there are no targets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the targets of the samples at `indices`, each of which is below [`len`](Self::len).
    pub(super) fn select(&self, indices: &[usize]) -> Targets {
        match self {
            Targets::Classes(classes) => Targets::Classes(rows(classes, 1, indices)),
            Targets::Values { data, width } => Targets::Values { data: rows(data, *width, indices), width: *width },
        }
    }

    /// Adds the targets of further samples, which are of the same type and width.
    pub(super) fn append(&mut self, more: Targets) -> Result<(), BatchProblem> {
        match (self, more) {
            (Targets::Classes(all), Targets::Classes(more)) => all.extend(more),
            (Targets::Values { data: all, width }, Targets::Values { data: more, width: other }) if *width == other => {
                all.extend(more);
            }
            _ => return Err(BatchProblem::MixedTargets),
        }
        Ok(())
    }
}

/// A sample that could not be read, and whose place another one took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedSample {
    /// 0-based index of the sample.
    pub index: usize,
    /// Why it could not be read, with the name of its file where it has one.
    pub problem: String,
}

/// Several samples and their targets, in plain memory.
///
/// # Examples
///
/// ```
/// use densenet::data::{Batch, Targets};
///
/// // Two gray images of 1×2 pixels, and their classes.
/// let batch = Batch::new([1, 1, 2], vec![0_u8, 255, 255, 0], Targets::Classes(vec![3, 7]));
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The shape of one sample, `[C, H, W]` for images.
    pub sample_shape: Vec<usize>,
    /// The values of the samples, as many as the batch size times the product of `sample_shape`.
    pub values: Values,
    /// The targets of the samples.
    pub targets: Targets,
    /// Samples that could not be read, and whose places in this batch others took. A run counts and reports them.
    pub skipped: Vec<SkippedSample>,
}

impl Batch {
    /// Creates a batch from the shape of one sample, the values of all samples, and their targets. Whether they fit is
    /// checked where the batch is used.
    pub fn new(sample_shape: impl Into<Vec<usize>>, values: impl Into<Values>, targets: Targets) -> Self {
        Batch { sample_shape: sample_shape.into(), values: values.into(), targets, skipped: Vec::new() }
    }

    /// Notes samples that could not be read, and whose places others took.
    #[must_use]
    pub fn with_skipped(mut self, skipped: Vec<SkippedSample>) -> Self {
        self.skipped = skipped;
        self
    }

    /// Returns the batch size: the number of samples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Copies the rows of `width` elements at `indices`.
fn rows<T: Copy>(all: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    let mut rows = Vec::with_capacity(indices.len() * width);
    for index in indices {
        rows.extend_from_slice(&all[index * width..][..width]);
    }
    rows
}
