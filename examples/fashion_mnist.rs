//! Trains the DenseNet of the tutorial on the real Fashion-MNIST, with curves and predictions to look at.
//!
//!     cargo run --example fashion_mnist                              ten epochs, as in the tutorial
//!     cargo run --example fashion_mnist -- --epochs 1 --train-limit 2048 --test-limit 1000
//!
//! Expect lines such as `[epoch 1] loss 0.512, train acc 0.811, test acc 0.842`, and in a new folder under `runs/` the files
//! `history.csv`, `report.html`, `curves.png`, `predictions.png` and `model.safetensors`. Ctrl-C ends the run after the
//! current step and leaves what was reached; a second one ends it at once. With `--checkpoint-every-steps 100` a run that was killed goes on
//! with `--resume`, to the same bits.

use clap::Parser;
use densenet::data::{Dataset, Subset};
use densenet::nn::Precision;
use densenet::report::{ConsoleLog, HistoryFile, ProgressBar, Report, RunFolder, TimeEstimate};
use densenet::torch::{device_name, parse_device, versions};
use densenet::train::{CheckpointConfig, SaveEvery, SaveWeights, StopHandle};
use densenet::{DenseNetConfig, FashionMnist, Preprocess, Result, SgdConfig, Split, TrainConfig, Trainer, tch};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

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
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// Side of the images in pixels, resized from 28
    #[arg(long, default_value_t = 96)]
    resize: usize,
    /// Decides the first weights and the order of samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on with the run in --out after its newest checkpoint; with none there, begin
    #[arg(long, requires = "out")]
    resume: bool,
    /// Save the state of the run after every so many steps, to go on from with --resume
    #[arg(long, value_name = "N")]
    checkpoint_every_steps: Option<u64>,
    /// cpu, cuda or cuda:N; without it, the first GPU if there is one
    #[arg(long)]
    device: Option<String>,
    /// Compute in bf16, which is faster where the CPU has instructions for it
    #[arg(long)]
    bf16: bool,
    /// Train on the first so many samples only
    #[arg(long)]
    train_limit: Option<usize>,
    /// Test on the first so many samples only
    #[arg(long)]
    test_limit: Option<usize>,
    /// Threads that fetch batches ahead
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let device = args.device.as_deref().map_or_else(|| Ok(densenet::default_device()), parse_device)?;
    if args.download {
        let folder = args.data.as_ref().map_or_else(FashionMnist::download, FashionMnist::download_into)?;
        println!("Fashion-MNIST is in {}", folder.display());
    }
    let [train, test] = [Split::Train, Split::Test].map(|split| match &args.data {
        Some(folder) => FashionMnist::open_in(folder, split),
        None => FashionMnist::open(split),
    });
    let (train, test) = (train?, test?);
    let source = train.images_path().with_file_name("");
    let train = Subset::first(train, args.train_limit.unwrap_or(usize::MAX));
    let test = Subset::first(test, args.test_limit.unwrap_or(usize::MAX));
    let side = args.resize;
    let summary = DenseNetConfig::fashion_mnist().summary([1, side, side])?;

    let config = TrainConfig::new(args.epochs)
        .with_batch_size(args.batch_size)
        .with_seed(args.seed)
        .with_workers(args.workers)
        .with_precision(if args.bf16 { Precision::BFloat16 } else { Precision::Float32 })
        .with_preprocess(Preprocess::new().with_size([side, side]));
    tch::manual_seed(args.seed as i64);
    let vs = tch::nn::VarStore::new(device);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root())?;
    let optimizer = SgdConfig::new(args.learning_rate).build(&vs)?;
    let mut trainer = Trainer::new(vs, model, optimizer, config)?;
    let folder = match &args.out {
        Some(out) if args.resume => RunFolder::resumed(out)?,
        Some(out) => RunFolder::at(out)?,
        None => RunFolder::numbered("runs")?,
    };
    let every = args.checkpoint_every_steps.map_or(SaveEvery::Epochs(1), SaveEvery::Steps);
    let checkpoints = CheckpointConfig::in_folder(folder.file("checkpoints")).with_every(every);
    if args.resume {
        let damaged = trainer.resume_from(checkpoints)?;
        damaged.iter().for_each(|error| eprintln!("passed over: {}", error.with_causes()));
    } else if args.checkpoint_every_steps.is_some() {
        trainer.save_checkpoints(checkpoints)?;
    }

    let found = versions();
    println!("densenet {}, libtorch {}, tch {}", found.densenet, found.libtorch, found.tch);
    println!("on {}, {} threads, {}", device_name(device), found.threads, found.cpu_capability);
    println!("{} training and {} test images from {}", train.len(), test.len(), source.display());
    println!("{} parameters, results in {}", summary.parameters(), folder.path().display());

    let metadata = [("folder", source.display().to_string()), ("classes", train.classes().len().to_string())];
    trainer
        .observe(ProgressBar::new())
        .observe(TimeEstimate::new())
        .observe(ConsoleLog::new())
        .observe(HistoryFile::csv(folder.file("history.csv")))
        .observe(SaveWeights::to(folder.file("model.safetensors")))
        .observe(
            Report::in_folder(folder.path())
                .with_title("DenseNet on Fashion-MNIST")
                .with_summary(summary)
                .with_metadata("Data", metadata),
        );
    let ended_by = end_at_signals(trainer.stop_handle());
    trainer.fit(&train, &test)?;
    println!("see {}", folder.file("report.html").display());
    Ok(ended_by.get().map_or(ExitCode::SUCCESS, |&code| code.into()))
}

/// The first SIGINT (Ctrl-C) or SIGTERM ends the run after its step, the second one ends it at once. Gives the exit code that a shell
/// expects, once there was a signal.
fn end_at_signals(stop: StopHandle) -> Arc<OnceLock<u8>> {
    let ended_by = Arc::new(OnceLock::new());
    let first = ended_by.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("these signals can be handled");
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let code = 128 + signal as u8;
            match first.set(code) {
                Ok(()) => stop.stop(),
                // Without the end of libtorch's threads, one of which may be in the middle of a step.
                Err(_) => signal_hook::low_level::exit(code.into()),
            }
        }
    });
    ended_by
}
