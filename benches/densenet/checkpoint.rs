//! Saving and loading a checkpoint: the state of DenseNet-121 with AdamW, 96 MB.

use criterion::{Criterion, Throughput};
use densenet::data::SyntheticConfig;
use densenet::optim::AdamWConfig;
use densenet::tch::{Device, nn::VarStore};
use densenet::train::{CheckpointConfig, Datasets};
use densenet::{DenseNetConfig, TrainConfig, Trainer};
use std::path::Path;
use std::time::Instant;

/// A run of one step of one small image pair, which saves its state at its end, or resumes from it and does nothing
/// more.
fn run(folder: &Path) {
    let vs = VarStore::new(Device::Cpu);
    let model = DenseNetConfig::densenet121(1000).build(&vs.root()).expect("a valid network");
    let optimizer = AdamWConfig::new(1e-3).build(&vs).expect("a valid rate");
    let config = CheckpointConfig::in_folder(folder).with_resume();
    let trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(2));
    let samples = SyntheticConfig::new(2).with_sample_shape([3, 32, 32]).with_classes(1000).build().expect("valid");
    let mut trainer = trainer.expect("a valid run").with_checkpoints(config);
    trainer.fit(&Datasets::new(&samples)).expect("room on the disk");
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = crate::group(criterion, "checkpoint", 1, 5);
    // A variable and two moments of 8 million parameters.
    group.throughput(Throughput::Bytes(96 << 20));
    group.bench_function("train one step and save", |bencher| {
        bencher.iter_custom(|rounds| {
            let timed = |_| {
                let folder = tempfile::tempdir().expect("a folder");
                let start = Instant::now();
                run(folder.path());
                start.elapsed()
            };
            (0..rounds).map(timed).sum()
        });
    });
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path());
    group.bench_function("load", |bencher| bencher.iter(|| run(folder.path())));
    group.finish();
}
