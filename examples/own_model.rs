//! Your own network and your own data set in the `Trainer`: a network of a convolution and a `DenseBlock` learns to
//! tell rings from discs that a data set draws on the fly.
//!
//!     cargo run --example own_model
//!
//! Expect three epochs with a test accuracy above 0.95 at the end, in a few seconds.

use clap::Parser;
use densenet::data::{Batch, SampleKey, Targets};
use densenet::error::DataError;
use densenet::models::ModuleModel;
use densenet::report::ConsoleLog;
use densenet::tch::nn::{self, VarStore};
use densenet::{AdamWConfig, Dataset, Datasets, DenseBlockConfig, Error, Result, TrainConfig, Trainer};

const SIDE: usize = 20;

/// Rings and discs. A sample is a pure function of its index, so that any worker may draw it.
struct Shapes {
    first: usize,
    len: usize,
    classes: [String; 2],
}

impl Shapes {
    fn new(first: usize, len: usize) -> Self {
        Shapes { first, len, classes: ["ring", "disc"].map(str::to_owned) }
    }
}

impl Dataset for Shapes {
    fn len(&self) -> usize {
        self.len
    }

    fn sample_shape(&self) -> &[usize] {
        &[1, SIDE, SIDE]
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        if let Some(key) = keys.iter().find(|key| key.index >= self.len) {
            return Err(Error::Data(DataError::IndexOutOfRange { index: key.index, len: self.len }));
        }
        let numbers = keys.iter().map(|key| self.first + key.index);
        let values: Vec<u8> = numbers.clone().flat_map(draw).collect();
        let classes = numbers.map(|number| (number % 2) as u32).collect();
        Ok(Batch::new([1, SIDE, SIDE], values, Targets::Classes(classes)))
    }
}

/// A ring for an even number, a disc for an odd one, somewhere and of some size.
fn draw(number: usize) -> Vec<u8> {
    let part = |prime: usize| ((number * prime) % 101) as f32 / 100.0;
    let (x, y, radius) = (8.0 + 4.0 * part(37), 8.0 + 4.0 * part(59), 4.0 + 3.0 * part(83));
    let inner = if number.is_multiple_of(2) { radius - 2.0 } else { 0.0 };
    let lit = |row: usize, column: usize| (inner..=radius).contains(&(row as f32 - y).hypot(column as f32 - x));
    (0..SIDE * SIDE).map(|i| if lit(i / SIDE, i % SIDE) { 220 } else { 20 }).collect()
}

/// Trains a network and a data set of your own.
#[derive(Parser)]
struct Args {}

fn main() -> Result<()> {
    Args::parse();
    densenet::tune_allocator()?;
    let vs = VarStore::new(densenet::default_device());
    let root = vs.root();
    let stem = nn::conv2d(&root / "stem", 1, 8, 3, nn::ConvConfig { stride: 2, padding: 1, ..Default::default() });
    let block = DenseBlockConfig::new(8, 3).with_growth_rate(8).with_plain_layers().build(&(&root / "block"))?;
    let module = nn::seq_t()
        .add(stem)
        .add(block)
        .add_fn(|x| x.relu().mean_dim([2, 3].as_slice(), false, None))
        .add(nn::linear(&root / "head", 8 + 3 * 8, 2, Default::default()));

    let optimizer = AdamWConfig::new(3e-3).build(&vs)?;
    let trainer = Trainer::new(vs, ModuleModel(module), optimizer, TrainConfig::new(3))?;
    let (train, test) = (Shapes::new(0, 1000), Shapes::new(1000, 200));
    trainer.with_callback(ConsoleLog::new()).fit(&Datasets::new(&train).with_test(&test))?;
    Ok(())
}
