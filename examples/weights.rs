//! Looks into files of weights and converts them: safetensors, and what torch.save wrote.
//!
//!     cargo run --example weights -- inspect densenet121.pth
//!     cargo run --example weights -- convert densenet121.pth densenet121.safetensors --net densenet121
//!     cargo run --example weights -- convert densenet121.pth mine.safetensors --net densenet121 --classes 5 --keep-head
//!
//! Expect a table of tensors, or a line such as `606 used (0 renamed, 0 converted), 0 kept, 0 missing, 0 unexpected, 121 ignored` and a file with
//! torchvision's names.

use clap::{Parser, Subcommand, ValueEnum};
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::tch::{Device, Tensor, nn::VarStore, no_grad};
use densenet::weights::{Head, LoadConfig, Names, StemChannels, inspect, load, save_safetensors};
use densenet::{DenseNetConfig, Result};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Inspects and converts weights of DenseNets")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tensors of a file
    Inspect {
        /// File of weights
        file: PathBuf,
    },
    /// Load a file into a network, completely or not at all, and save that
    Convert {
        /// File of weights that is loaded
        from: PathBuf,
        /// safetensors file that is written
        to: PathBuf,
        #[command(flatten)]
        net: Net,
        /// Leave the classifier as it is at the start: for another number of classes
        #[arg(long)]
        keep_head: bool,
        /// Sum the three channels of the first convolution for gray images
        #[arg(long)]
        gray: bool,
        /// Accept missing and unexpected tensors where at least this percentage of the variables is there
        #[arg(long)]
        least_percent: Option<u32>,
    },
    /// Run a network on the tensor "x" of a safetensors file, and save its "logits"
    Run {
        /// File of weights
        weights: PathBuf,
        /// safetensors file with the images "x", [N, 3, H, W]
        input: PathBuf,
        /// safetensors file that is written, with the "logits", [N, classes]
        output: PathBuf,
        #[command(flatten)]
        net: Net,
    },
}

#[derive(clap::Args)]
struct Net {
    /// Network that the weights belong to
    #[arg(long)]
    net: Family,
    /// Number of classes of that network
    #[arg(long, default_value_t = 1000)]
    classes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Family {
    /// DenseNet-121
    Densenet121,
    /// DenseNet-161
    Densenet161,
    /// DenseNet-169
    Densenet169,
    /// DenseNet-201
    Densenet201,
    /// DenseNet-264
    Densenet264,
}

impl Net {
    fn config(&self) -> DenseNetConfig {
        let of = match self.net {
            Family::Densenet121 => DenseNetConfig::densenet121,
            Family::Densenet161 => DenseNetConfig::densenet161,
            Family::Densenet169 => DenseNetConfig::densenet169,
            Family::Densenet201 => DenseNetConfig::densenet201,
            Family::Densenet264 => DenseNetConfig::densenet264,
        };
        of(self.classes)
    }
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    // Where nobody reads the output, as behind `| head`, nothing is lost.
    let mut out = io::stdout();
    let mut vs = VarStore::new(Device::Cpu);
    match command {
        Command::Inspect { file } => {
            let tensors = inspect(file)?;
            let values = |shape: &[i64]| shape.iter().product::<i64>();
            for tensor in &tensors {
                let _ = writeln!(
                    out,
                    "{:10} {:12} {:20} {}",
                    values(&tensor.shape),
                    tensor.kind,
                    format!("{:?}", tensor.shape),
                    tensor.name
                );
            }
            let _ = writeln!(
                out,
                "{} values in {} tensors",
                tensors.iter().map(|t| values(&t.shape)).sum::<i64>(),
                tensors.len()
            );
        }
        Command::Convert { from, to, net, keep_head, gray, least_percent } => {
            let config = net.config().with_input_channels(if gray { 1 } else { 3 });
            config.build(&vs.root())?;
            let options = LoadConfig::new()
                .with_head(if keep_head { Head::Keep } else { Head::Load })
                .with_stem(if gray { StemChannels::Sum } else { StemChannels::Exact })
                .with_names(least_percent.map_or(Names::Exact, |least_percent| Names::Partial { least_percent }));
            let _ = writeln!(out, "{}", load(&vs, from, &options)?);
            save_safetensors(&vs, &to)?;
        }
        Command::Run { weights, input, output, net } => {
            let model = net.config().build(&vs.root())?;
            let tensors = Tensor::read_safetensors(&input).map_err(|error| failed("reading of the input", &error))?;
            let x = tensors.into_iter().find(|(name, _)| name == "x").map(|(_, x)| x);
            let x = x.ok_or_else(|| failed("reading of the input", &"it has no tensor \"x\""))?;
            // In f32 the weights are what the file has; f64 adds nothing to them but exactness of the sums.
            vs.set_kind(x.kind());
            load(&vs, weights, &LoadConfig::new())?;
            let logits = no_grad(|| model.forward(&x, &ForwardContext::new(Mode::Eval)))?;
            Tensor::write_safetensors(&[("logits", &logits)], &output).map_err(|error| failed("writing", &error))?;
        }
    }
    Ok(())
}

fn failed(what: &'static str, message: &dyn std::fmt::Display) -> densenet::Error {
    densenet::Error::Libtorch { what, message: message.to_string() }
}
