//! Data sets whose samples a test decides.

use densenet::Result;
use densenet::data::{Batch, Dataset, SampleKey, Targets, Values};

/// A number of samples whose value is their index, of one class.
pub struct Indices(pub usize);

impl Dataset for Indices {
    fn len(&self) -> usize {
        self.0
    }
    fn sample_shape(&self) -> &[usize] {
        &[1]
    }
    fn classes(&self) -> &[String] {
        static CLASSES: [String; 1] = [String::new()];
        &CLASSES
    }
    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        let values = Values::F32(keys.iter().map(|key| key.index as f32).collect());
        Ok(Batch::new([1], values, Targets::Classes(vec![0; keys.len()])))
    }
}

/// Another data set whose batches a function may change or refuse.
pub struct Changed<D, F>(D, F);

impl<D: Dataset, F: Fn(&[SampleKey], &mut Batch) -> Result<()> + Send + Sync> Changed<D, F> {
    pub fn new(dataset: D, change: F) -> Self {
        Changed(dataset, change)
    }
}

impl<D: Dataset, F: Fn(&[SampleKey], &mut Batch) -> Result<()> + Send + Sync> Dataset for Changed<D, F> {
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
        let mut batch = self.0.fetch(keys)?;
        (self.1)(keys, &mut batch).map(|()| batch)
    }
}
