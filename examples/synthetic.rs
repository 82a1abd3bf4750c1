//! Trains a small DenseNet on made-up images in a few seconds, without any data on disk: a first look, or a smoke test.
//!
//!     cargo run --example synthetic
//!
//! Expect the table of the network's layers, three epochs whose test accuracy rises to about 1, and the answers for the first
//! test images.

use densenet::data::SyntheticConfig;
use densenet::predict::{PredictConfig, predict};
use densenet::report::ConsoleLog;
use densenet::{Dataset, DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer, tch::nn::VarStore};

fn main() -> Result<()> {
    let samples = SyntheticConfig::new(1024).with_sample_shape([1, 16, 16]).with_classes(4);
    let train = samples.clone().build()?;
    let test = samples.with_seed(1).build()?;

    let config = DenseNetConfig::new(train.classes().len())
        .with_input_channels(1)
        .with_initial_channels(16)
        .with_growth_rate(8)
        .with_layers_per_block([2, 2]);
    println!("{}", config.summary([1, 16, 16])?);

    let vs = VarStore::new(densenet::default_device());
    let model = config.build(&vs.root())?;
    let optimizer = SgdConfig::new(0.1).build(&vs)?;
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(3))?;
    trainer.observe(ConsoleLog::new());
    trainer.fit(&train, &test)?;

    let answers = predict(trainer.model(), &test, &PredictConfig::default())?;
    for (index, answer) in answers.classes().iter().take(5).enumerate() {
        let name = answer.class.map_or("none", |class| &test.classes()[class]);
        println!("image {index}: {name} ({:.0} %)", 100.0 * answer.probability);
    }
    Ok(())
}
