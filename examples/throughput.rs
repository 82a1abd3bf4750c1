//! Times training steps on random pictures and prints one line of JSON, for comparison with other implementations.
//!
//!     cargo run --example throughput -- --work tutorial --execution fused --precision bf16 --batch 64
//!
//! Expect a line with `img_per_s` (batch by median step), step times, memory in MB (`peak - base` is what the work itself takes),
//! and the share of the machine's matrix-product rate (`fraction_of_gemm`, a training step counted as three forward passes).

use clap::{Parser, ValueEnum};
use densenet::models::Model;
use densenet::nn::{Execution, ForwardContext, Mode, Precision};
use densenet::optim::Optimizer;
use densenet::tch::{Device, Kind, Tensor, manual_seed, nn::VarStore};
use densenet::torch::{tune_allocator, versions};
use densenet::{DenseNetConfig, Result, SgdConfig};
use std::time::Instant;

#[derive(Parser)]
struct Args {
    /// What is trained
    #[arg(long, default_value = "tutorial")]
    work: Work,
    /// How the blocks run
    #[arg(long, default_value = "fused")]
    execution: HowExecuted,
    /// In which kind of number it runs
    #[arg(long, default_value = "f32")]
    precision: NumberKind,
    #[arg(long, default_value_t = 64)]
    batch: i64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// The tutorial's network at 1×96×96, SGD with rate 0.1
    #[value(alias = "seed")]
    Tutorial,
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum HowExecuted {
    Fused,
    Composed,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumberKind {
    F32,
    Bf16,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (execution, variant) = match args.execution {
        HowExecuted::Fused => (Execution::Fused, "fused"),
        HowExecuted::Composed => (Execution::Composed, "composed"),
    };
    let (precision, kind, precision_name) = match args.precision {
        NumberKind::F32 => (Precision::Float32, Kind::Float, "f32"),
        NumberKind::Bf16 => (Precision::BFloat16, Kind::BFloat16, "bf16"),
    };
    precision.check(Device::Cpu)?;
    let gemm_gflops = matrix_product_rate(kind);
    let base = memory_mb("VmRSS:");
    // Starts the peak anew; where the kernel refuses, the peak is that since the start.
    let _ = std::fs::write("/proc/self/clear_refs", "5");

    tune_allocator()?;
    manual_seed(0);
    let vs = VarStore::new(Device::Cpu);
    let (Work::Tutorial, side) = (args.work, 96);
    let config = DenseNetConfig::fashion_mnist();
    let multiply_adds = config.plan([1, side, side])?.multiply_adds();
    let net = config.build(&vs.root())?;
    let mut optimizer = SgdConfig::new(0.1).build(&vs)?;
    let x = Tensor::randn([args.batch, 1, side as i64, side as i64], (Kind::Float, Device::Cpu));
    let y = Tensor::randint(10, [args.batch], (Kind::Int64, Device::Cpu));
    let ctx = ForwardContext::new(Mode::Train).with_execution(execution).with_precision(precision);
    let mut step = || -> Result<(f64, f64)> {
        let started = Instant::now();
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
    let mut times = Vec::new();
    let mut loss_last = loss_first;
    while times.len() < 7 || times.iter().sum::<f64>() < 3.0 {
        let (seconds, loss) = step()?;
        times.push(seconds);
        loss_last = loss;
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let rate = args.batch as f64 / median;
    let flops = 6.0 * multiply_adds as f64;
    println!(
        "{}",
        serde_json::json!({
            "peer": "densenet", "variant": variant, "work": "seed", "precision": precision_name, "layout": "NHWC",
            "batch": args.batch, "img_per_s": rate, "step_ms_min": 1e3 * times[0], "step_ms_median": 1e3 * median,
            "steps": times.len(), "warmup": 3, "first_step_s": first,
            "peak_rss_mb": memory_mb("VmHWM:"), "base_rss_mb": base,
            "gemm_gflops": gemm_gflops, "fraction_of_gemm": flops * rate / 1e9 / gemm_gflops,
            "threads": versions().threads, "loss_first": loss_first, "loss_last": loss_last,
            "versions": { "densenet": versions().densenet, "libtorch": versions().libtorch },
        })
    );
    Ok(())
}

/// What a large product of matrices reaches, in 10⁹ operations a second.
fn matrix_product_rate(kind: Kind) -> f64 {
    let size = 4096;
    let [a, b] = [(); 2].map(|()| Tensor::rand([size, size], (Kind::Float, Device::Cpu)).to_kind(kind));
    let seconds = (0..4).map(|_| {
        let started = Instant::now();
        let _ = a.matmul(&b);
        started.elapsed().as_secs_f64()
    });
    2e-9 * (size as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min)
}

/// A line of this process's status, in 10⁶ bytes.
fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
