//! Trains a small DenseNet on made-up images in a few seconds, without any data on disk: a first look, or a smoke test.
//!
//!     cargo run --example synthetic
//!
//! Expect the table of the network's layers, three epochs whose test accuracy rises to about 1, and the predictions for
//! the first test images.

use clap::Parser;
use densenet::data::SyntheticConfig;
use densenet::predict::{PredictConfig, predict};
use densenet::report::ConsoleLog;
use densenet::{Dataset, Datasets, DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer, tch::nn::VarStore};
use std::io::{self, Write};

/// Trains a small DenseNet on made-up images.
#[derive(Parser)]
struct Args {}

fn main() -> Result<()> {
    Args::parse();
    densenet::tune_allocator()?;
    // Errors are ignored, such as a closed pipe to `head`.
    let mut out = io::stdout();
    let samples = SyntheticConfig::new(1024).with_sample_shape([1, 16, 16]).with_classes(4);
    let train = samples.clone().build()?;
    let test = samples.with_seed(1).build()?;

    let config = DenseNetConfig::new(train.classes().len())
        .with_input_channels(1)
        .with_initial_channels(16)
        .with_growth_rate(8)
        .with_layers_per_block([2, 2]);
    let _ = writeln!(out, "{}", config.summary([1, 16, 16])?);

    let vs = VarStore::new(densenet::default_device());
    let model = config.build(&vs.root())?;
    let optimizer = SgdConfig::new(0.1).build(&vs)?;
    let trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(3))?;
    let mut trainer = trainer.with_callback(ConsoleLog::new());
    trainer.fit(&Datasets::new(&train).with_test(&test))?;

    let predictions = predict(trainer.model(), &test, &PredictConfig::default())?;
    for (index, prediction) in predictions.classes().into_iter().flatten().take(5).enumerate() {
        let name = &test.classes()[prediction.class];
        let _ = writeln!(out, "image {index}: {name} ({:.0} %)", 100.0 * prediction.probability);
    }
    Ok(())
}
