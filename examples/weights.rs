//! Inspects files of weights, converts them, and runs a network with them: safetensors, and what `torch.save` wrote.
//!
//!     cargo run --example weights -- inspect densenet121.pth
//!     cargo run --example weights -- convert densenet121.pth densenet121.safetensors --net densenet121
//!     cargo run --example weights -- convert densenet121.pth mine.safetensors --net densenet121 --classes 5 --keep-head
//!
//! Expect a table of tensors, or a file with torchvision's names and a line such as `606 loaded (0 renamed, 0
//! converted), 0 missing, 0 unexpected, 0 kept, 121 ignored`.

use clap::{Parser, Subcommand, ValueEnum};
use densenet::DenseNetConfig;
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::tch::{Device, Tensor, nn::VarStore, no_grad};
use densenet::weights::{LoadConfig, inspect, load, save_safetensors};
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Inspect and convert files of DenseNet weights, or run a network with them
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tensors of a file: number of values, dtype, shape and name
    Inspect {
        /// File of weights: safetensors, .pth or .pt
        file: PathBuf,
    },
    /// Load a file into a network, completely or not at all, and save it as safetensors with torchvision's names
    Convert {
        /// File of weights to load: safetensors, .pth or .pt
        from: PathBuf,
        /// File to write, as safetensors
        to: PathBuf,
        #[command(flatten)]
        net: Net,
        /// Keep the network's own, new classifier, for another number of classes
        #[arg(long)]
        keep_head: bool,
        /// Build the network for gray images, with the sum of the three channels of the file's first convolution
        #[arg(long)]
        gray: bool,
        /// Load non-strictly: accept missing and unexpected tensors if the file has this percentage of the variables
        #[arg(long, value_name = "PERCENT")]
        min_percent: Option<u32>,
    },
    /// Run a network on the tensor "x" of a safetensors file, and save its outputs as the tensor "logits"
    Run {
        /// File of weights to load: safetensors, .pth or .pt
        weights: PathBuf,
        /// Safetensors file with the input "x" of shape [N, 3, H, W]; its dtype is the one that the network runs in
        input: PathBuf,
        /// Safetensors file to write, with the output "logits" of shape [N, classes]
        output: PathBuf,
        #[command(flatten)]
        net: Net,
    },
}

#[derive(clap::Args)]
struct Net {
    /// Network that the weights are of
    #[arg(long)]
    net: Family,
    /// Number of classes, which is the number of the network's outputs
    #[arg(long, default_value_t = 1000)]
    classes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Family {
    Densenet121,
    Densenet161,
    Densenet169,
    Densenet201,
    Densenet264,
}

impl Net {
    fn config(&self) -> DenseNetConfig {
        let preset = match self.net {
            Family::Densenet121 => DenseNetConfig::densenet121,
            Family::Densenet161 => DenseNetConfig::densenet161,
            Family::Densenet169 => DenseNetConfig::densenet169,
            Family::Densenet201 => DenseNetConfig::densenet201,
            Family::Densenet264 => DenseNetConfig::densenet264,
        };
        preset(self.classes)
    }
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader such as `head` has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Inspect { file } => print_tensors(&file)?,
        Command::Convert { from, to, net, keep_head, gray, min_percent } => {
            let vs = VarStore::new(Device::Cpu);
            net.config().with_input_channels(if gray { 1 } else { 3 }).build(&vs.root())?;
            let config = LoadConfig::new();
            let config = if keep_head { config.with_new_head() } else { config };
            let config = if gray { config.with_summed_stem() } else { config };
            let config = min_percent.map_or(config.clone(), |min_percent| config.non_strict(min_percent));
            println!("{}", load(&vs, from, &config)?);
            save_safetensors(&vs, &to)?;
        }
        Command::Run { weights, input, output, net } => {
            let mut vs = VarStore::new(Device::Cpu);
            let model = net.config().build(&vs.root())?;
            let tensors = Tensor::read_safetensors(&input)?;
            let x = tensors.into_iter().find(|(name, _)| name == "x").map(|(_, x)| x);
            let x = x.ok_or_else(|| format!("{} has no tensor \"x\"", input.display()))?;
            // Weights have the precision of the file; f64 only makes sums more accurate.
            vs.set_kind(x.kind());
            load(&vs, weights, &LoadConfig::new())?;
            let logits = no_grad(|| model.forward(&x, &ForwardContext::new(Mode::Eval)))?;
            Tensor::write_safetensors(&[("logits", &logits)], &output)?;
        }
    }
    Ok(())
}

fn print_tensors(file: &Path) -> Result<(), Box<dyn Error>> {
    let tensors = inspect(file)?;
    let mut out = io::stdout().lock();
    // A tensor that repeats its values, or has none, can have any shape.
    let values = |shape: &[i64]| shape.iter().map(|&size| size as f64).product::<f64>();
    for tensor in &tensors {
        writeln!(out, "{:10} {tensor}", values(&tensor.shape))?;
    }
    let total: f64 = tensors.iter().map(|tensor| values(&tensor.shape)).sum();
    writeln!(out, "{total} values in {} tensors", tensors.len())?;
    Ok(())
}

/// The message of an error with those of its causes, on one line.
fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
