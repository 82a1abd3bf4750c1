//! The keys by which samples are requested.

use serde::{Deserialize, Serialize};

/// The key of a requested sample, with everything that its random augmentation may depend on.
///
/// Augmentation that is a pure function of this key gives the same samples with any number of workers and after a
/// resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// 0-based index of the sample in the data set.
    pub index: usize,
    /// 0-based epoch that the sample is for; always 0 in [`Phase::Evaluation`].
    pub epoch: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Whether the sample is for training or for evaluation.
    pub phase: Phase,
}

impl SampleKey {
    /// Creates the key by which a sample is fetched outside of a run: for evaluation, with epoch and seed 0.
    pub(crate) fn for_evaluation(index: usize) -> Self {
        SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation }
    }
}

/// The phase that a sample is fetched for, so that a data set can augment in training only.
///
/// The key of the first training epoch and that of an evaluation differ in nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// A training step, in which samples may be augmented.
    #[default]
    Train,
    /// Validation, testing or prediction, in which every sample is the same each time.
    Evaluation,
}
