//! A regression with a loss of your own: a DenseNet with one output learns the radius of a disc that lies anywhere in a
//! noisy image. The loss is a closure.
//!
//!     cargo run --example regression
//!
//! Expect a falling test loss, and then the radii in pixels that it finds in five images, beside the true ones, mostly
//! less than half a pixel off.

use clap::Parser;
use densenet::data::{Batch, InMemoryDataset, Targets};
use densenet::optim::Schedule;
use densenet::predict::{PredictConfig, predict};
use densenet::report::ConsoleLog;
use densenet::tch::{Reduction, Tensor, nn::VarStore};
use densenet::{AdamWConfig, Datasets, DenseNetConfig, Result, TrainConfig, Trainer};
use std::io::{self, Write};

const SIDE: usize = 32;

/// Discs of radius 3 to 10 pixels and their radii.
fn discs(first: usize, count: usize) -> (Batch, Vec<f32>) {
    let part = |number: usize, factor: f64| (number as f64 * factor).fract();
    let mut values = Vec::with_capacity(count * SIDE * SIDE);
    let mut radii = Vec::with_capacity(count);
    for number in first..first + count {
        // Multiples of irrational numbers fill the interval [0, 1) evenly.
        let radius = 3.0 + 7.0 * part(number, 2f64.sqrt());
        let (x, y) = (11.0 + 10.0 * part(number, 3f64.sqrt()), 11.0 + 10.0 * part(number, 5f64.sqrt()));
        values.extend((0..SIDE * SIDE).map(|i| {
            let inside = ((i % SIDE) as f64 - x).hypot((i / SIDE) as f64 - y) <= radius;
            let noise = 60.0 * part(number * SIDE * SIDE + i, 7f64.sqrt());
            (noise + if inside { 150.0 } else { 30.0 }) as u8
        }));
        radii.push(radius as f32);
    }
    let targets = Targets::Values { data: radii.clone(), width: 1 };
    (Batch::new([1, SIDE, SIDE], values, targets), radii)
}

/// Trains a DenseNet to find the radius of a disc, with a loss of your own.
#[derive(Parser)]
struct Args {}

fn main() -> Result<()> {
    Args::parse();
    densenet::tune_allocator()?;
    // Errors are ignored, such as a closed pipe to `head`.
    let mut out = io::stdout();
    let (train, _) = discs(0, 1000);
    let (test, radii) = discs(1000, 200);
    let (train, test) = (InMemoryDataset::new(train, &[])?, InMemoryDataset::new(test, &[])?);

    let vs = VarStore::new(densenet::default_device());
    let model = DenseNetConfig::new(1) // one output, no classes
        .with_input_channels(1)
        .with_initial_channels(16)
        .with_growth_rate(8)
        .with_layers_per_block([2, 2])
        .build(&vs.root())?;
    let optimizer = AdamWConfig::new(3e-3).build(&vs)?;
    let huber = |outputs: &Tensor, targets: &Tensor| outputs.smooth_l1_loss(targets, Reduction::Mean, 1.0);
    let config = TrainConfig::new(8).with_batch_size(32).with_schedule(Schedule::Cosine);
    let trainer = Trainer::new(vs, model, optimizer, config)?;
    let mut trainer = trainer.with_loss(huber).with_callback(ConsoleLog::new());
    trainer.fit(&Datasets::new(&train).with_test(&test))?;

    let predictions = predict(trainer.model(), &test, &PredictConfig::default())?;
    for (radius, prediction) in radii.iter().zip(predictions.outputs.iter()).take(5) {
        let _ = writeln!(out, "radius {radius:.1} pixels, found {prediction:.1}");
    }
    Ok(())
}
