//! A batch of samples as plain memory, before it becomes tensors on the training device.

/// The values of a batch's samples, one sample after the other, each in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Bytes, such as pixels from 0 to 255, which stay bytes until they are on the training device.
    U8(Vec<u8>),
    /// Numbers, which are used as they are.
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
    /// The number of values of all samples.
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

/// The targets of a batch's samples, to which a model is to map them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// One class index per sample.
    Classes(Vec<u32>),
    /// `width` numbers per sample: soft labels, or the values of a regression.
    Values {
        /// The numbers, one sample after the other.
        data: Vec<f32>,
        /// The number of numbers that belong to one sample.
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
    /// The batch size: the number of samples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
