//! A batch of samples as plain memory, before it becomes tensors on the training device.

/// The values of a batch's samples, one sample after the other, each in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Bytes, such as pixels from 0 to 255. They stay bytes until they are on the training device.
    U8(Vec<u8>),
    /// Numbers that are used as they are.
    F32(Vec<f32>),
}

impl Values {
    /// The number of values.
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
}

/// What the samples of a batch should be mapped to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// One class index a sample.
    Classes(Vec<u32>),
    /// `width` numbers a sample: soft labels or the values of a regression.
    Values {
        /// The numbers, one sample after the other.
        data: Vec<f32>,
        /// How many numbers belong to one sample.
        width: usize,
    },
}

impl Targets {
    /// The number of samples that these targets belong to.
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
}

/// Samples and their targets, in plain memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The shape of one sample, `[C, H, W]` for images.
    pub sample_shape: Vec<usize>,
    /// The samples' values; their number is the batch size times the product of `sample_shape`.
    pub values: Values,
    /// The samples' targets.
    pub targets: Targets,
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
