//! Augmentation of single images, and of batches as tensors by plain tch.

use crate::group;
use criterion::Criterion;
use densenet::data::augment::{
    AlternatingFlip, Augment, ColorJitter, Operation, RandAugment, RandomAffine, RandomErasing, RandomHorizontalFlip,
    RandomRotation, RandomShift, TrivialAugmentWide,
};
use densenet::data::{Augmented, Image, InMemoryDataset, LoaderConfig, Phase, SampleKey, SyntheticConfig, Values};
use densenet::tch::{Device, Kind, Tensor};
use std::thread;

const BATCH: usize = 128;

fn key(index: usize) -> SampleKey {
    SampleKey { index, epoch: 0, seed: 0, phase: Phase::Train }
}

fn images() -> InMemoryDataset {
    SyntheticConfig::new(4096).with_sample_shape([3, 32, 32]).build().expect("made images")
}

pub fn bench(criterion: &mut Criterion) {
    single(criterion);
    batches(criterion);
    loader(criterion);
}

/// Each operation on images of 3×32×32 and 3×224×224, the conversions from and to planes included.
fn single(criterion: &mut Criterion) {
    let operations: [(&str, Operation); 9] = [
        ("flip", RandomHorizontalFlip::new().into()),
        ("alternating flip", AlternatingFlip::new().into()),
        ("shift", RandomShift::new(4).into()),
        ("rotation", RandomRotation::new(15.0).into()),
        ("affine", RandomAffine::new(15.0).with_scale([0.9, 1.1]).into()),
        (
            "jitter",
            ColorJitter::new().with_brightness(0.4).with_contrast(0.4).with_saturation(0.4).with_hue(0.1).into(),
        ),
        ("erasing", RandomErasing::new().into()),
        ("trivial augment", TrivialAugmentWide::new().into()),
        ("rand augment", RandAugment::new().into()),
    ];
    let mut augments = vec![("none", Augment::new()), ("cifar", Augment::cifar())];
    augments.extend(operations.map(|(name, operation)| (name, Augment::new().with(operation))));
    for side in [32, 224] {
        let values = (0..3 * side * side).map(|value| (value * 37 % 251) as u8).collect();
        let image = Image::new([3, side, side], Values::U8(values)).expect("a shape");
        let mut group = group(criterion, &format!("augment {side}"), BATCH, 1);
        for (name, augment) in augments.iter().filter(|(name, _)| side == 32 || *name != "cifar") {
            group.bench_function(*name, |bencher| {
                bencher
                    .iter(|| (0..BATCH).for_each(|index| drop(augment.apply(&image, &key(index)).expect("an image"))));
            });
        }
        group.finish();
    }
}

/// Flip and crop of a batch of 128 images: as tensor operations with offsets per image, and by `Augmented`.
fn batches(criterion: &mut Criterion) {
    use densenet::data::Dataset;
    let keys: Vec<_> = (0..BATCH).map(key).collect();
    let dataset = images();
    let augmented = Augmented::new(dataset.clone(), Augment::cifar()).expect("images of 32×32");
    let batch = dataset.fetch(&keys).expect("a batch");
    let Values::U8(bytes) = &batch.values else { unreachable!("bytes") };
    let x = Tensor::from_slice(bytes).view([BATCH as i64, 3, 32, 32]).to_kind(Kind::Float);
    let mut group = group(criterion, "flip and crop of a batch", BATCH, 2);
    group.bench_function("without", |bencher| bencher.iter(|| dataset.fetch(&keys).expect("a batch")));
    group.bench_function("on a worker", |bencher| bencher.iter(|| augmented.fetch(&keys).expect("a batch")));
    group.bench_function("tensors", |bencher| bencher.iter(|| flip_and_crop(&x)));
    group.finish();
}

/// Gathers the pixels of all images at once.
fn flip_and_crop(x: &Tensor) -> Tensor {
    let (n, ints) = (x.size()[0], (Kind::Int64, Device::Cpu));
    let padded = x.constant_pad_nd([4, 4, 4, 4]);
    let offset = || Tensor::randint(9, [n, 1], ints);
    let steps = Tensor::arange(32, ints).unsqueeze(0);
    let rows: Tensor = &steps + offset();
    let columns: Tensor = &steps + offset();
    let flips = Tensor::randint(2, [n, 1], ints);
    let mirrored = columns.flip([1]);
    let columns: Tensor = &columns + (mirrored - &columns) * &flips;
    let at = (rows.unsqueeze(2) * 40 + columns.unsqueeze(1)).view([n, 1, 1024]).expand([n, 3, 1024], false);
    padded.view([n, 3, 1600]).gather(2, &at, false).view([n, 3, 32, 32])
}

/// An epoch of batches with and without augmentation.
fn loader(criterion: &mut Criterion) {
    let plain = images();
    let augmented = Augmented::new(plain.clone(), Augment::cifar()).expect("images of 32×32");
    let datasets: [(&str, &dyn densenet::data::Dataset); 2] = [("plain", &plain), ("cifar", &augmented)];
    let mut group = group(criterion, "augmenting loader", 4096, 2);
    for (name, dataset) in datasets {
        let loader = LoaderConfig::new(BATCH).with_shuffle().with_workers(1).build().expect("valid");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                thread::scope(|scope| {
                    loader.batches(scope, dataset, 0).expect("samples").for_each(|batch| drop(batch.expect("a batch")));
                });
            });
        });
    }
    group.finish();
}
