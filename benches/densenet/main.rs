//! Benchmarks: images per second of a dense block, of a training step of the tutorial's network, of the loader and
//! of augmentation, and the time to save a checkpoint. Where it makes sense, the same work in plain tch is measured
//! too.
//!
//!     cargo bench                      all, in under five minutes
//!     cargo bench -- training_step     one group

mod augment;
mod checkpoint;
mod dense_block;
mod loader;
mod plain_tch;
mod training_step;

use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use std::time::Duration;

criterion_group!(benches, dense_block::bench, training_step::bench, loader::bench, augment::bench, checkpoint::bench);
criterion_main!(benches);

/// Creates a group that counts images and whose benchmarks take about `seconds` each.
fn group<'a>(criterion: &'a mut Criterion, name: &str, images: usize, seconds: u64) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(images as u64))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(seconds));
    group
}
