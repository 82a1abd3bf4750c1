//! Saving and loading a checkpoint: the state of DenseNet-121 with AdamW, 96 MB.

use criterion::{Criterion, Throughput};
use densenet::DenseNetConfig;
use densenet::checkpoint::{Checkpoint, Store};
use densenet::tch::{Device, nn::VarStore};
use densenet::torch::named_variables;
use serde_json::json;

pub fn bench(criterion: &mut Criterion) {
    let vs = VarStore::new(Device::Cpu);
    let _model = DenseNetConfig::new(1000).build(&vs.root()).expect("a valid network");
    // A variable and two moments.
    let tensors = named_variables(&vs).into_iter().flat_map(|variable| {
        ["model", "first", "second"].map(|part| (format!("{part}.{}", variable.name), variable.tensor.detach().copy()))
    });
    let checkpoint = Checkpoint { state: json!({ "step": 1 }), tensors: tensors.collect() };
    let bytes: usize = checkpoint.tensors.values().map(|tensor| 4 * tensor.numel()).sum();
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("nobody else has it");

    let mut group = crate::group(criterion, "checkpoint", 1, 5);
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut step = 0;
    group.bench_function("save", |bencher| {
        bencher.iter(|| {
            step += 1;
            store.save(step, &checkpoint).and_then(|_| store.keep(2, &[])).expect("room on the disk");
        });
    });
    group.bench_function("load", |bencher| bencher.iter(|| store.newest().expect("it is whole")));
    group.finish();
}
