//! The data sets of a run.

use crate::data::Dataset;

/// The data sets of a run: a training set, an optional validation set and an optional test set.
///
/// After every epoch the model is evaluated on the validation and the test set. What chooses during a run, such as
/// [`EarlyStop`](super::EarlyStop) or [`SaveWeights::best_to`](super::SaveWeights::best_to), looks at the validation
/// set alone, so that the test set says something about data that no choice depended on.
///
/// # Examples
///
/// Pass your own validation data if you have some; otherwise [`split_validation`](crate::data::split_validation) holds
/// back a part of the training data:
///
/// ```
/// use densenet::data::{Dataset, SyntheticConfig, split_validation};
/// use densenet::train::Datasets;
///
/// let (all, test) = (SyntheticConfig::new(100).build()?, SyntheticConfig::new(20).with_seed(1).build()?);
/// let (train, validation) = split_validation(&all, 0.1, 0)?;
/// let datasets = Datasets::new(&train).with_validation(&validation).with_test(&test);
/// assert_eq!((datasets.train.len(), datasets.validation.unwrap().len()), (90, 10));
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Datasets<'a> {
    /// Samples that the model is trained on.
    pub train: &'a dyn Dataset,
    /// Samples that decide which epoch is the best. Default: none.
    pub validation: Option<&'a dyn Dataset>,
    /// Samples that results are reported on. Default: none.
    pub test: Option<&'a dyn Dataset>,
}

impl<'a> Datasets<'a> {
    /// Creates the data sets of a run that trains on `train` without evaluation.
    pub fn new(train: &'a dyn Dataset) -> Self {
        Datasets { train, validation: None, test: None }
    }

    /// Adds a validation set, which decides which epoch is the best.
    #[must_use]
    pub fn with_validation(self, validation: &'a dyn Dataset) -> Self {
        Datasets { validation: Some(validation), ..self }
    }

    /// Adds a test set, on which results are reported.
    #[must_use]
    pub fn with_test(self, test: &'a dyn Dataset) -> Self {
        Datasets { test: Some(test), ..self }
    }

    /// Returns the data sets that the model is evaluated on, with their names in messages.
    pub(super) fn evaluated(&self) -> impl Iterator<Item = (&'static str, &'a dyn Dataset)> {
        let named = [("validation set", self.validation), ("test set", self.test)];
        named.into_iter().filter_map(|(name, dataset)| Some((name, dataset?)))
    }
}
