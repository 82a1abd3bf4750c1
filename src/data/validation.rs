//! A validation set that is held back from the training set.

use super::random::{Purpose, Random};
use super::{Dataset, Subset};
use crate::error::DataError;
use crate::{Error, Result};

/// Splits a data set at random into a training and a validation part, which are disjoint, contain all samples together,
/// and keep their order. The validation part has `fraction` of the samples, above 0 and below 1, rounded to an integer
/// number; for a given number, pass it divided by the data set's length.
///
/// The split is a pure function of the number of samples, the fraction and the seed. Choices between models (the best
/// epoch, early stopping) use the validation part, so that the test set only measures the result.
///
/// `dataset` is cloned: pass a reference, an `Arc`, or one that is cheap to clone, such as
/// [`InMemoryDataset`](super::InMemoryDataset).
///
/// # Errors
///
/// [`DataError::EmptySplit`] where one part would be empty,
/// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a fraction outside (0, 1).
///
/// # Examples
///
/// ```
/// use densenet::data::{Dataset, SyntheticConfig, split_validation};
///
/// let all = SyntheticConfig::new(100).build()?;
/// let (train, validation) = split_validation(&all, 0.1, 42)?;
/// assert_eq!((train.len(), validation.len()), (90, 10));
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn split_validation<D: Dataset + Clone>(dataset: D, fraction: f64, seed: u64) -> Result<(Subset<D>, Subset<D>)> {
    let samples = dataset.len();
    if !(fraction > 0.0 && fraction < 1.0) {
        let (field, expected) = ("validation fraction", "between 0 and 1, without the ends");
        return Err(Error::invalid_value(field, fraction, expected));
    }
    let validation = (fraction * samples as f64).round() as usize;
    if validation == 0 || validation >= samples {
        return Err(Error::Data(DataError::EmptySplit { samples, validation }));
    }
    let mut held_back = Random::new(Purpose::ValidationSplit, seed, 0).permutation(samples);
    let mut rest = held_back.split_off(validation);
    held_back.sort_unstable();
    rest.sort_unstable();
    Ok((Subset::new(dataset.clone(), rest)?, Subset::new(dataset, held_back)?))
}
