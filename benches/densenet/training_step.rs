//! One step of the tutorial's recipe: batch 64 at 96×96, forward, cross-entropy, backward, SGD.

use crate::{group, plain_tch};
use criterion::Criterion;
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::optim::Optimizer;
use densenet::tch::nn::{ModuleT, OptimizerConfig, Sgd, VarStore};
use densenet::tch::{Device, Kind, Tensor};
use densenet::{DenseNetConfig, SgdConfig};

const BATCH: i64 = 64;

pub fn bench(criterion: &mut Criterion) {
    let pixels = Tensor::rand([BATCH, 1, 96, 96], (Kind::Float, Device::Cpu));
    let labels = Tensor::randint(10, [BATCH], (Kind::Int64, Device::Cpu));
    let mut group = group(criterion, "training_step", BATCH as usize, 15);

    let vs = VarStore::new(Device::Cpu);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root()).expect("a valid network");
    let mut optimizer = SgdConfig::new(0.01).build(&vs).expect("a valid rate");
    group.bench_function("densenet", |bencher| {
        bencher.iter(|| {
            optimizer.zero_grad().unwrap();
            let logits = model.forward(&pixels, &ForwardContext::new(Mode::Train)).expect("images that fit");
            logits.cross_entropy_for_logits(&labels).backward();
            optimizer.step(0.01).unwrap();
        });
    });

    let vs = VarStore::new(Device::Cpu);
    let model = plain_tch::densenet(&vs.root());
    let mut optimizer = Sgd::default().build(&vs, 0.01).expect("a valid rate");
    group.bench_function("plain tch", |bencher| {
        bencher.iter(|| {
            let logits = model.forward_t(&pixels, true);
            optimizer.backward_step(&logits.cross_entropy_for_logits(&labels));
        });
    });
    group.finish();
}
