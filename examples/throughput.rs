//! Times training steps, or predictions, on random images and prints one line of JSON, to compare implementations.
//!
//!     cargo run --example throughput -- --work tutorial --execution fused --precision bf16
//!     cargo run --example throughput -- --work densenet121 --memory recompute
//!     cargo run --example throughput -- --work bc100 --inference --batch 32
//!
//! Expect a line with `img_per_s` (batch by median step), step times, memory in MB (`peak - base` is what the work
//! itself takes; on a GPU `peak_device_mb` is what its tensors take), and the share of the machine's matrix-product rate (`fraction_of_gemm`, a training step counted as
//! three forward passes).

use clap::{Parser, ValueEnum};
use densenet::models::Model;
use densenet::nn::{Execution, ForwardContext, Mode, Precision};
use densenet::optim::Optimizer;
use densenet::tch::{Device, Kind, Tensor, manual_seed, nn::VarStore, no_grad};
use densenet::torch::{CudaConfig, Versions, parse_device, peak_device_memory, tune_allocator};
use densenet::{DenseNetConfig, Result, SgdConfig};
use std::io::{self, Write};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Times training steps, or predictions, on random images")]
struct Args {
    /// Network, image size and batch size that are timed
    #[arg(long, default_value = "tutorial")]
    work: Work,
    /// Implementation of the layers
    #[arg(long, default_value = "fused")]
    execution: ExecutionArg,
    /// Dtype in which the network runs
    #[arg(long, default_value = "f32")]
    precision: PrecisionArg,
    /// Activations that a step saves for its backward pass
    #[arg(long, default_value = "keep")]
    memory: MemoryArg,
    /// Time predictions in evaluation mode instead of training steps
    #[arg(long)]
    inference: bool,
    /// Device to run on, such as cpu or cuda:0
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Least time in seconds that steps are timed for
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Images per batch; without it, as many as the work is usually measured with
    #[arg(long)]
    batch: Option<i64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// The tutorial's network at 1×96×96, batch 64, SGD
    Tutorial,
    /// DenseNet-121 at 3×224×224, batch 16, SGD with momentum
    Densenet121,
    /// DenseNet-BC of depth 100 and growth rate 12 at 3×32×32, batch 64, SGD with momentum
    Bc100,
}

impl Work {
    /// Returns the name in the output, the network's configuration, the shape of an image, batch size and momentum.
    fn parts(self) -> Result<(&'static str, DenseNetConfig, [usize; 3], i64, f64)> {
        Ok(match self {
            Work::Tutorial => ("tutorial", DenseNetConfig::fashion_mnist(), [1, 96, 96], 64, 0.0),
            Work::Densenet121 => ("densenet121", DenseNetConfig::densenet121(1000), [3, 224, 224], 16, 0.9),
            Work::Bc100 => ("bc100", DenseNetConfig::cifar_bc(100, 12)?, [3, 32, 32], 64, 0.9),
        })
    }
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum ExecutionArg {
    /// The fused engine: this crate's own kernels
    Fused,
    /// libtorch's own operations, one after the other
    Reference,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// Single precision, 32 bits per value
    F32,
    /// Single precision, of whose bits a GPU's products use 19
    Tf32,
    /// bfloat16, 16 bits per value
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum MemoryArg {
    /// The output of a bottleneck layer's first convolution too
    Keep,
    /// Less; the backward pass recomputes that output (activation checkpointing)
    Recompute,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (execution, variant) = match args.execution {
        ExecutionArg::Fused => (Execution::Fused, "fused"),
        ExecutionArg::Reference => (Execution::Reference, "reference"),
    };
    let (precision, kind, precision_name) = match args.precision {
        PrecisionArg::F32 => (Precision::Float32, Kind::Float, "f32"),
        PrecisionArg::Tf32 => (Precision::Float32, Kind::Float, "tf32"),
        PrecisionArg::Bf16 => (Precision::BFloat16, Kind::BFloat16, "bf16"),
    };
    let device = parse_device(&args.device)?;
    precision.check(device)?;
    CudaConfig::new().with_tf32(precision_name == "tf32").with_benchmark(true).apply()?;
    let gemm_gflops = matrix_product_rate(kind, device);
    let base = memory_mb("VmRSS:");
    // Resets the peak of resident memory; where the kernel refuses, the peak is that since the start of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");

    tune_allocator()?;
    manual_seed(0);
    let vs = VarStore::new(device);
    let (work, config, [channels, height, width], usual_batch, momentum) = args.work.parts()?;
    let batch = args.batch.unwrap_or(usual_batch);
    let multiply_adds = config.summary([channels, height, width])?.multiply_adds();
    let net = config.build(&vs.root())?;
    let mut optimizer = SgdConfig::new(0.1).with_momentum(momentum).build(&vs)?;
    let size = [batch, channels as i64, height as i64, width as i64];
    let x = Tensor::randn(size, (Kind::Float, device));
    let y = Tensor::randint(config.classes as i64, [batch], (Kind::Int64, device));
    let mode = if args.inference { Mode::Eval } else { Mode::Train };
    let ctx = ForwardContext::new(mode).with_execution(execution).with_precision(precision);
    let (ctx, memory) = match args.memory {
        MemoryArg::Keep => (ctx, "keep"),
        MemoryArg::Recompute => (ctx.with_recompute(), "recompute"),
    };
    let mut step = || -> Result<(f64, f64)> {
        let started = Instant::now();
        if args.inference {
            let logits = no_grad(|| net.forward(&x, &ctx))?;
            return Ok((started.elapsed().as_secs_f64(), logits.double_value(&[0, 0])));
        }
        optimizer.zero_grad()?;
        let loss = net.forward(&x, &ctx)?.cross_entropy_for_logits(&y);
        loss.backward();
        optimizer.step(0.1)?;
        let loss = loss.double_value(&[]);
        Ok((started.elapsed().as_secs_f64(), loss))
    };

    let (first, loss_first) = step()?;
    step()?;
    step()?;
    let _ = peak_device_memory(device, true)?;
    let mut times = Vec::new();
    let mut loss_last = loss_first;
    while times.len() < 7 || times.iter().sum::<f64>() < args.seconds {
        let (seconds, loss) = step()?;
        times.push(seconds);
        loss_last = loss;
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let rate = batch as f64 / median;
    let passes = if args.inference { 1.0 } else { 3.0 };
    let flops = 2.0 * passes * multiply_adds as f64;
    // Errors are ignored, such as a closed pipe to `head`.
    let _ = writeln!(
        io::stdout(),
        "{}",
        serde_json::json!({
            "peer": "densenet", "device": args.device, "variant": variant, "memory": memory, "inference": args.inference, "work": work, "precision": precision_name, "layout": "NHWC",
            "batch": batch, "img_per_s": rate, "step_ms_min": 1e3 * times[0], "step_ms_median": 1e3 * median,
            "steps": times.len(), "warmup": 3, "first_step_s": first,
            "peak_device_mb": peak_device_memory(device, false)?.map(|bytes| bytes as f64 / 1e6),
            "peak_rss_mb": memory_mb("VmHWM:"), "base_rss_mb": base,
            "gemm_gflops": gemm_gflops, "fraction_of_gemm": flops * rate / 1e9 / gemm_gflops,
            "threads": Versions::current().threads, "loss_first": loss_first, "loss_last": loss_last,
            "versions": { "densenet": Versions::current().densenet, "libtorch": Versions::current().libtorch },
        })
    );
    Ok(())
}

/// Measures the rate of a large matrix product, in 10⁹ operations per second.
fn matrix_product_rate(kind: Kind, device: Device) -> f64 {
    let size = 4096;
    let [a, b] = [(); 2].map(|()| Tensor::rand([size, size], (Kind::Float, device)).to_kind(kind));
    let seconds = (0..4).map(|_| {
        let started = Instant::now();
        // Reading a value waits for the device.
        let _ = a.matmul(&b).double_value(&[0, 0]);
        started.elapsed().as_secs_f64()
    });
    2e-9 * (size as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min)
}

/// Reads a field of this process's status, in 10⁶ bytes.
fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
