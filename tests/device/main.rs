//! Checks of a device, in stages. The script `run` beside it starts them one by one, and each prints lines of JSON.
//!
//!     cargo test --test device --no-run
//!     tests/device/run --device cpu

mod epoch;
mod parity;
mod training;

use clap::{Parser, ValueEnum};
use densenet::Result;
use densenet::tch::Device;
use densenet::torch::{Versions, parse_device};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

/// Check a device, and print lines of JSON
#[derive(Parser)]
struct Args {
    /// Checks that are made
    stage: Stage,
    /// Device that is checked; without it, the first CUDA device, or else the CPU
    #[arg(long)]
    device: Option<String>,
    /// Check less, for a CPU
    #[arg(long)]
    small: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// The device, and the versions of the libraries
    Device,
    /// Forward and backward passes against f64 on the CPU
    Parity,
    /// Optimizer steps, resumed runs, weights and predictions against the CPU
    Training,
    /// One epoch of Fashion-MNIST, and where its time goes
    Epoch,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

/// Makes the checks of a stage; returns whether all of them held.
fn run(args: &Args) -> Result<bool> {
    let device = args.device.as_deref().map_or_else(|| Ok(densenet::default_device()), parse_device)?;
    match args.stage {
        Stage::Device => {
            let Versions { densenet, libtorch, tch, threads, .. } = Versions::current();
            let default = densenet::default_device();
            let holds = default == device || !is_gpu(device);
            print(
                "device",
                json!({
                    "device": format!("{device:?}"), "default_device": format!("{default:?}"), "holds": holds,
                    "densenet": densenet, "libtorch": libtorch, "tch": tch, "threads": threads,
                }),
            );
            Ok(holds)
        }
        Stage::Parity => parity::check(device, args.small),
        Stage::Training => training::check(device),
        Stage::Epoch => epoch::measure(device, args.small).map(|()| true),
    }
}

/// Prints a line of results.
fn print(stage: &str, mut results: Value) {
    results["stage"] = json!(stage);
    // Errors are ignored, such as a closed pipe.
    let _ = writeln!(io::stdout(), "{results}").and_then(|()| io::stdout().flush());
}

/// Whether a device is a GPU.
fn is_gpu(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}
