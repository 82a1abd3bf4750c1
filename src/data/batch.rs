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

/// Several samples and their targets, in plain memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The shape of one sample, `[C, H, W]` for images.
    pub sample_shape: Vec<usize>,
    /// The values of the samples, as many as the batch size times the product of `sample_shape`.
    pub values: Values,
    /// The targets of the samples.
    pub targets: Targets,
}

impl Batch {
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
