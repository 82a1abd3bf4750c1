//! An epoch of batches from memory to prepared tensors, as in training.

use crate::group;
use criterion::Criterion;
use densenet::Preprocess;
use densenet::data::{Dataset, InMemoryDataset, LoaderConfig, Phase, SampleKey, SyntheticConfig};
use densenet::tch::Device;
use std::thread;

const IMAGES: usize = 8192;

pub fn bench(criterion: &mut Criterion) {
    let keys: Vec<_> =
        (0..IMAGES).map(|index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation }).collect();
    let samples = SyntheticConfig::new(IMAGES).build().and_then(|made| made.fetch(&keys)).expect("made images");
    let dataset = InMemoryDataset::new(samples, &["class"; 10]).expect("labels in range");
    let preprocess = Preprocess::new().with_size([96, 96]);

    let mut group = group(criterion, "loader", IMAGES, 5);
    for workers in [0, 1, 2] {
        let loader = LoaderConfig::new(64).with_shuffle().with_workers(workers).build().expect("valid");
        group.bench_function(format!("{workers} workers"), |bencher| {
            let mut epoch = 0;
            bencher.iter(|| {
                epoch += 1;
                thread::scope(|scope| {
                    for batch in loader.batches(scope, &dataset, epoch).expect("a data set with samples") {
                        let _ = preprocess.tensors(&batch.expect("a batch"), Device::Cpu).expect("tensors");
                    }
                });
            });
        });
    }
    group.finish();
}
