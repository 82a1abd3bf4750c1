//! One epoch of Fashion-MNIST through the `Trainer`, and where its time goes.

use crate::print;
use densenet::data::{FashionMnist, LoaderConfig, Split, Subset};
use densenet::tch::{Cuda, Device, nn::VarStore};
use densenet::train::Datasets;
use densenet::{DenseNetConfig, Preprocess, Result, SgdConfig, TrainConfig, Trainer};
use serde_json::json;
use std::thread;
use std::time::Instant;

/// Images per batch.
const BATCH: usize = 256;

/// Measures an epoch, and its parts alone.
pub fn measure(device: Device, small: bool) -> Result<()> {
    let (limit, side, workers) = if small { (256, 48, 1) } else { (60_000, 96, 4) };
    let train = Subset::first(FashionMnist::open(Split::Train)?, limit);
    let preprocess = Preprocess::new().with_size([side; 2]);
    let loader = LoaderConfig::new(BATCH).with_workers(workers).with_shuffle().build()?;

    let mut seconds = Vec::new();
    // Batches alone, and batches that are copied to the device and resized there.
    for copies in [false, true] {
        let started = Instant::now();
        thread::scope(|scope| {
            for batch in loader.batches(scope, &train, 0)? {
                let batch = batch?;
                if copies {
                    let _tensors = preprocess.tensors(&batch, device)?;
                }
            }
            Ok::<_, densenet::Error>(())
        })?;
        wait_for(device);
        seconds.push(started.elapsed().as_secs_f64());
    }

    let vs = VarStore::new(device);
    let net = DenseNetConfig::fashion_mnist().with_seed(0).build(&vs.root())?;
    let optimizer = SgdConfig::new(0.1).build(&vs)?;
    let config = TrainConfig::new(2).with_batch_size(BATCH).with_workers(workers).with_preprocess(preprocess);
    let mut trainer = Trainer::new(vs, net, optimizer, config)?;
    let history = trainer.fit(&Datasets::new(&train))?;
    // The first epoch chooses algorithms.
    let [first, second] = [0, 1].map(|epoch| history.epochs[epoch].train_seconds);
    let loss = history.epochs[1].train.loss();
    print(
        "epoch",
        json!({
            "images": limit, "side": side, "batch": BATCH, "workers": workers, "loss": loss,
            "first_epoch_s": first, "second_epoch_s": second,
            "loader_alone_s": seconds[0], "loader_and_copies_s": seconds[1],
            "img_per_s": limit as f64 / second,
        }),
    );
    Ok(())
}

/// Waits until the device has done all its work.
fn wait_for(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}
