//! Fingerprints of data sets, so that a run resumes on the data that it started with.

use super::dataset::{fetch, fetch_targets};
use super::{Dataset, SampleKey, Targets, Values};
use crate::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Number of samples whose values are in a digest: enough to notice other samples, and few enough to take no time.
const SAMPLES: usize = 64;

/// The size of a data set, a digest of its classes, all of its targets and some of its samples, and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    samples: usize,
    sample_shape: Vec<usize>,
    /// SHA-256 over the class names, the targets of all samples, and the values of up to 64 evenly spaced samples; 64
    /// hexadecimal digits.
    sha256: String,
    /// The data set's settings that change its samples; absent where there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    configuration: Value,
}

impl Fingerprint {
    /// Computes the fingerprint of a data set, of samples as evaluation fetches them.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`] and [`fetch_targets`].
    pub fn of(dataset: &dyn Dataset) -> Result<Self> {
        let samples = dataset.len();
        let size = |size: usize| (size as u64).to_le_bytes();
        let mut digest = Sha256::new();
        digest.update(size(dataset.classes().len()));
        for class in dataset.classes() {
            digest.update(size(class.len()));
            digest.update(class);
        }
        match fetch_targets(dataset)? {
            Targets::Classes(classes) => classes.iter().for_each(|class| digest.update(class.to_le_bytes())),
            Targets::Values { data, width } => {
                digest.update(size(width));
                data.iter().for_each(|value| digest.update(value.to_le_bytes()));
            }
        }
        let count = samples.min(SAMPLES);
        let keys: Vec<_> = (0..count).map(|i| SampleKey::for_evaluation(i * samples / count)).collect();
        match fetch(dataset, &keys)?.values {
            Values::U8(values) => digest.update(values),
            Values::F32(values) => values.iter().for_each(|value| digest.update(value.to_le_bytes())),
        }
        let sample_shape = dataset.sample_shape().to_vec();
        let (sha256, configuration) = (hex::encode(digest.finalize()), dataset.configuration());
        Ok(Fingerprint { samples, sample_shape, sha256, configuration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Batch, InMemoryDataset};

    /// A thousand samples of two values, of three classes.
    fn samples() -> Batch {
        Batch::new(
            [2],
            (0..2000).map(|value| (value % 251) as u8).collect::<Vec<_>>(),
            Targets::Classes((0..1000).map(|index| index % 3).collect()),
        )
    }

    /// A data set of one's own: it knows only how to fetch.
    struct Own(InMemoryDataset);

    impl Dataset for Own {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn sample_shape(&self) -> &[usize] {
            self.0.sample_shape()
        }

        fn classes(&self) -> &[String] {
            self.0.classes()
        }

        fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
            self.0.fetch(keys)
        }
    }

    fn fingerprint(samples: Batch, classes: &[&str]) -> Fingerprint {
        let dataset = InMemoryDataset::new(samples, classes).unwrap();
        let fingerprint = Fingerprint::of(&dataset).unwrap();
        assert_eq!(Fingerprint::of(&Own(dataset)).unwrap(), fingerprint);
        fingerprint
    }

    #[test]
    fn any_changed_label_changes_the_fingerprint() {
        let original = fingerprint(samples(), &["a", "b", "c"]);
        assert_eq!(fingerprint(samples(), &["a", "b", "c"]), original);
        for changed in [0, 1, 499, 998, 999] {
            let mut other = samples();
            let Targets::Classes(classes) = &mut other.targets else { panic!("classes") };
            classes[changed] = (classes[changed] + 1) % 3;
            assert_ne!(fingerprint(other, &["a", "b", "c"]), original, "label {changed}");
        }
    }

    #[test]
    fn any_changed_value_of_a_regression_changes_the_fingerprint() {
        let regression = |targets: Vec<f32>, width| {
            fingerprint(Batch { targets: Targets::Values { data: targets, width }, ..samples() }, &[])
        };
        let original = regression(vec![0.5; 2000], 2);
        for changed in [0, 3, 1999] {
            let mut targets = vec![0.5; 2000];
            targets[changed] = 0.25;
            assert_ne!(regression(targets, 2), original, "value {changed}");
        }
    }

    #[test]
    fn classes_samples_and_shape_are_in_the_fingerprint() {
        let original = fingerprint(samples(), &["a", "b", "c"]);
        assert_ne!(fingerprint(samples(), &["a", "b", "d"]), original);
        assert_ne!(fingerprint(samples(), &["a", "b", "c", "d"]), original);
        assert_ne!(fingerprint(Batch { sample_shape: vec![2, 1], ..samples() }, &["a", "b", "c"]), original);
        let mut other = samples();
        let Values::U8(values) = &mut other.values else { panic!("bytes") };
        // Sample 500 is one of 64 evenly spaced ones.
        values[1000] += 1;
        assert_ne!(fingerprint(other, &["a", "b", "c"]), original);
    }
}
