//! The second block of the tutorial's network: 96 channels, four layers of 32, on 12×12.

use crate::{group, plain_tch};
use criterion::Criterion;
use densenet::DenseBlockConfig;
use densenet::tch::nn::{ModuleT, VarStore};
use densenet::tch::{Device, Kind, Tensor, no_grad};

const BATCH: i64 = 64;
const CHANNELS: i64 = 96;

pub fn bench(criterion: &mut Criterion) {
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(CHANNELS as usize, 4)
        .with_growth_rate(32)
        .with_plain_layers()
        .build(&(vs.root() / "block"))
        .expect("a valid block");
    let plain = plain_tch::dense_block(&(vs.root() / "plain"), CHANNELS, 4, 32);
    let x = Tensor::randn([BATCH, CHANNELS, 12, 12], (Kind::Float, Device::Cpu));
    // Each gets its input in the memory format in which the network before it would pass it.
    let channels_last = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let contestants: [(&str, &dyn ModuleT, Tensor); 2] =
        [("densenet", &block, channels_last), ("plain tch", &plain, x)];

    let mut forward = group(criterion, "dense_block/forward", BATCH as usize, 4);
    for (name, block, x) in &contestants {
        forward.bench_function(*name, |bencher| bencher.iter(|| no_grad(|| block.forward_t(x, false))));
    }
    forward.finish();

    let mut both = group(criterion, "dense_block/forward_backward", BATCH as usize, 6);
    for (name, block, x) in &contestants {
        let x = x.detach().set_requires_grad(true);
        both.bench_function(*name, |bencher| bencher.iter(|| block.forward_t(&x, true).sum(Kind::Float).backward()));
    }
    both.finish();
}
