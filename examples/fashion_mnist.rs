//! Trains the DenseNet of the tutorial on the real Fashion-MNIST, with curves and predictions to look at.
//!
//!     cargo run --example fashion_mnist                              ten epochs, as in the tutorial
//!     cargo run --example fashion_mnist -- --epochs 1 --train-limit 2048 --test-limit 1000
//!
//! Expect lines such as `[epoch 1] loss 0.512, train acc 0.811, test acc
//! 0.842`, and in a new folder under `runs/` the files `history.csv`, `report.html`, `curves.png`, `predictions.png` and `model.safetensors`,
//! a model bundle that the examples `predict` and `serve` open.
//! Ctrl-C ends the run after the current step and leaves what was reached; a second one ends the process at once. With
//! `--checkpoint-every-steps 100` a run that was killed is resumed by `--resume`, with the same result bit for bit.

use clap::Parser;
use densenet::data::{Dataset, Subset};
use densenet::nn::Precision;
use densenet::report::{ConsoleLog, HistoryFile, ProgressBar, Report, RunFolder};
use densenet::torch::{Versions, parse_device};
use densenet::train::{CheckpointConfig, Datasets, SaveEvery, SaveWeights};
use densenet::weights::Bundle;
use densenet::{
    DenseNet, DenseNetConfig, FashionMnist, Preprocess, Result, SgdConfig, Split, TrainConfig, Trainer, tch,
};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Trains a DenseNet on Fashion-MNIST", version)]
struct Args {
    /// Folder of the four files; without it, the usual places
    #[arg(long)]
    data: Option<PathBuf>,
    /// Fetch the data set first, into the folder of --data or the user's cache, unless it is there
    #[arg(long)]
    download: bool,
    /// Folder for the results; without it, a new numbered one under runs/
    #[arg(long)]
    out: Option<PathBuf>,
    /// Number of passes over the training images
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Number of images per step
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Learning rate of stochastic gradient descent
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// Side of the images in pixels, resized from 28
    #[arg(long, default_value_t = 96)]
    resize: usize,
    /// Seed of the initial weights and of the order of images
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Resume the run in --out after its newest checkpoint; begin a new one where there is none
    #[arg(long, requires = "out")]
    resume: bool,
    /// Save the state of the run after every N steps, for --resume
    #[arg(long, value_name = "N")]
    checkpoint_every_steps: Option<u64>,
    /// cpu, cuda or cuda:N; without it, the first GPU if there is one
    #[arg(long)]
    device: Option<String>,
    /// Compute in bf16, which is faster where the CPU has instructions for it
    #[arg(long)]
    bf16: bool,
    /// Train on the first N images only
    #[arg(long, value_name = "N")]
    train_limit: Option<usize>,
    /// Test on the first N images only
    #[arg(long, value_name = "N")]
    test_limit: Option<usize>,
    /// Number of worker threads that prefetch batches
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    densenet::tune_allocator()?;
    let device = args.device.as_deref().map_or_else(|| Ok(densenet::default_device()), parse_device)?;
    if args.download {
        let folder = args.data.as_ref().map_or_else(FashionMnist::download, FashionMnist::download_into)?;
        say(format!("Fashion-MNIST is in {}", folder.display()));
    }
    let [train, test] = [Split::Train, Split::Test].map(|split| match &args.data {
        Some(folder) => FashionMnist::open_in(folder, split),
        None => FashionMnist::open(split),
    });
    let (train, test) = (train?, test?);
    let source = train.images_path().with_file_name("");
    let train = Subset::first(train, args.train_limit.unwrap_or(usize::MAX));
    let test = Subset::first(test, args.test_limit.unwrap_or(usize::MAX));
    let bundle = bundle(&args, train.classes());
    let summary = bundle.config.summary([1, args.resize, args.resize])?;
    let parameters = summary.parameters();
    let trainer = trainer(&args, &bundle, device)?;
    let (key, description) = bundle.metadata()?;
    // After all other checks of arguments, so that a typing error leaves no empty folder.
    let folder = match &args.out {
        Some(out) if args.resume => RunFolder::resumed(out)?,
        Some(out) => RunFolder::at(out)?,
        None => RunFolder::numbered("runs")?,
    };
    let metadata = [("folder", source.display().to_string()), ("classes", train.classes().len().to_string())];
    let report = Report::in_folder(folder.path()).with_title("DenseNet on Fashion-MNIST");
    let mut trainer = with_checkpoints(trainer, &args, &folder)
        .with_callback(ProgressBar::new())
        .with_callback(ConsoleLog::new())
        .with_callback(HistoryFile::csv(folder.file("history.csv")))
        .with_callback(SaveWeights::to(folder.file("model.safetensors")).with_metadata(key, description))
        .with_callback(report.with_summary(summary).with_metadata("Data", metadata));

    let found = Versions::current();
    say(format!("densenet {}, libtorch {}, tch {}", found.densenet, found.libtorch, found.tch));
    say(format!("on {}, {} threads, {}", format!("{device:?}").to_lowercase(), found.threads, found.cpu_capability));
    say(format!("{} training and {} test images from {}", train.len(), test.len(), source.display()));
    say(format!("{parameters} parameters, results in {}", folder.path().display()));

    let stop = trainer.stop_handle();
    stop.on_ctrl_c()?;
    trainer.fit(&Datasets::new(&train).with_test(&test))?;
    say(format!("see {}", folder.file("report.html").display()));
    // The exit code that a shell expects of a program that a signal ended.
    Ok(stop.signal().map_or(ExitCode::SUCCESS, |signal| (128 + signal as u8).into()))
}

/// The tutorial's network, and what a prediction needs beside its weights.
fn bundle(args: &Args, classes: &[String]) -> Bundle {
    Bundle::new(DenseNetConfig::fashion_mnist().with_seed(args.seed))
        .with_classes(classes)
        .with_preprocess(Preprocess::new().with_size([args.resize; 2]))
        .with_image_size([28, 28])
}

/// The network and how it is trained.
fn trainer(args: &Args, bundle: &Bundle, device: tch::Device) -> Result<Trainer<DenseNet>> {
    let config = TrainConfig::new(args.epochs)
        .with_batch_size(args.batch_size)
        .with_seed(args.seed)
        .with_workers(args.workers)
        .with_precision(if args.bf16 { Precision::BFloat16 } else { Precision::Float32 })
        .with_preprocess(bundle.preprocess.clone());
    let vs = tch::nn::VarStore::new(device);
    let model = bundle.config.build(&vs.root())?;
    let optimizer = SgdConfig::new(args.learning_rate).build(&vs)?;
    Trainer::new(vs, model, optimizer, config)
}

/// Saves the state of the run in its folder where the arguments say so.
fn with_checkpoints(trainer: Trainer<DenseNet>, args: &Args, folder: &RunFolder) -> Trainer<DenseNet> {
    if !args.resume && args.checkpoint_every_steps.is_none() {
        return trainer;
    }
    let every = args.checkpoint_every_steps.map_or(SaveEvery::Epochs(1), SaveEvery::Steps);
    let config = CheckpointConfig::in_folder(folder.file("checkpoints")).with_every(every);
    trainer.with_checkpoints(if args.resume { config.with_resume() } else { config })
}

/// Prints a line. Ignores errors, such as a closed pipe to `head`.
fn say(line: String) {
    let _ = writeln!(io::stdout(), "{line}");
}
