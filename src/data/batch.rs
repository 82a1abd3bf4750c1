//! A batch of samples as plain memory, before it becomes tensors on the training device.

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
