//! Fingerprints of data sets, so that a run resumes on the data that it started with.

use super::{Dataset, Phase, SampleKey, Targets, Values};
use crate::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The number of samples in a digest: enough to notice another version of a data set, and few enough to take no time.
const SAMPLES: usize = 64;

/// The size of a data set, and a digest of its classes and of some of its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    samples: usize,
    sample_shape: Vec<usize>,
    /// SHA-256 over the class names and over up to 64 evenly spaced samples with their targets, 64 hexadecimal digits.
    sha256: String,
}

impl Fingerprint {
    /// Computes the fingerprint of a data set, of samples as evaluation fetches them.
    ///
    /// # Errors
    ///
    /// The data set's errors.
    pub fn of(dataset: &dyn Dataset) -> Result<Self> {
        let samples = dataset.len();
        let count = samples.min(SAMPLES);
        let key = |i| SampleKey { index: i * samples / count, epoch: 0, seed: 0, phase: Phase::Evaluation };
        let keys: Vec<_> = (0..count).map(key).collect();
        let batch = dataset.fetch(&keys)?;
        let mut digest = Sha256::new();
        for class in dataset.classes() {
            digest.update((class.len() as u64).to_le_bytes());
            digest.update(class);
        }
        match &batch.values {
            Values::U8(values) => digest.update(values),
            Values::F32(values) => values.iter().for_each(|value| digest.update(value.to_le_bytes())),
        }
        match &batch.targets {
            Targets::Classes(classes) => classes.iter().for_each(|class| digest.update(class.to_le_bytes())),
            Targets::Values { data, .. } => data.iter().for_each(|value| digest.update(value.to_le_bytes())),
        }
        Ok(Fingerprint {
            samples,
            sample_shape: dataset.sample_shape().to_vec(),
            sha256: hex::encode(digest.finalize()),
        })
    }
}
