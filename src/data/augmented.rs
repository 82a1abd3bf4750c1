//! A data set whose samples are augmented in training.

use super::augment::{Augment, not_bytes};
use super::dataset::fetch_targets;
use super::{Batch, Dataset, Phase, Pixels, SampleKey, Targets, Values, fetch};
use crate::error::InputError;
use crate::{Error, Result};
use serde_json::{Value, json};

/// A data set of the samples of `D`, images `[C, H, W]` of bytes, which are augmented in training and stay as they are
/// in evaluation.
///
/// The same key gives the same sample, so that a run does not depend on the number of workers, and resumes exactly. A
/// run with checkpoints is resumed only with the same augmentation.
///
/// # Examples
///
/// ```
/// use densenet::data::{Augment, Augmented, Dataset, SyntheticConfig};
///
/// let images = SyntheticConfig::new(100).with_sample_shape([3, 32, 32]).build()?;
/// let train = Augmented::new(images, Augment::cifar())?;
/// assert_eq!(train.len(), 100);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Augmented<D> {
    dataset: D,
    augment: Augment,
    sample_shape: [usize; 3],
}

impl<D: Dataset> Augmented<D> {
    /// Augments the samples of `dataset` in training.
    ///
    /// # Errors
    ///
    /// [`InputError::SampleShape`] where samples are not images `[C, H, W]`, those of [`Augment::output_shape`], and
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) where augmented samples would have
    /// another shape than those in evaluation. Samples of f32 are an error of the first fetch, in any phase.
    pub fn new(dataset: D, augment: Augment) -> Result<Self> {
        let Ok(sample_shape) = <[usize; 3]>::try_from(dataset.sample_shape()) else {
            let actual = dataset.sample_shape().to_vec();
            return Err(Error::Input(InputError::SampleShape { actual, expected: "[C, H, W]".to_owned() }));
        };
        let augmented = augment.output_shape(sample_shape)?;
        if augmented != sample_shape {
            let value = format!("{augmented:?} for samples of shape {sample_shape:?}");
            let expected = "that of the samples, which evaluation returns as they are";
            return Err(Error::invalid_value("shape of augmented samples", value, expected));
        }
        Ok(Augmented { dataset, augment, sample_shape })
    }

    /// Returns the data set whose samples are augmented.
    pub fn inner(&self) -> &D {
        &self.dataset
    }

    /// Returns the augmentation.
    pub fn augment(&self) -> &Augment {
        &self.augment
    }
}

impl<D: Dataset> Dataset for Augmented<D> {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        let mut batch = fetch(&self.dataset, keys)?;
        let Values::U8(bytes) = &mut batch.values else { return Err(not_bytes(&self.sample_shape)) };
        let size = self.sample_shape.iter().product();
        for (key, sample) in keys.iter().zip(bytes.chunks_exact_mut(size)) {
            if key.phase == Phase::Train {
                let pixels = Pixels::from_planes(self.sample_shape, sample);
                self.augment.apply_pixels(pixels, key)?.write_planes(sample);
            }
        }
        Ok(batch)
    }

    fn configuration(&self) -> Value {
        json!({ "augment": self.augment, "dataset": self.dataset.configuration() })
    }

    fn targets(&self) -> Result<Targets> {
        fetch_targets(&self.dataset)
    }
}
