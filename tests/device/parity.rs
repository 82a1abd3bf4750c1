//! Forward and backward passes of dense blocks and networks on the device, against f64 on the CPU.
//!
//! The fused engine may err at most twice as much as libtorch's own operations on the same device, and these no more than
//! the dtype allows.

use crate::{is_gpu, print};
use densenet::models::Model;
use densenet::nn::{Dropout, Execution, Features, ForwardContext, Mode, Precision, StemConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::torch::CudaConfig;
use densenet::{DenseBlockConfig, DenseNetConfig, Result, TransitionBlockConfig};
use serde_json::json;

/// What a pass computes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    F32,
    /// f32 whose products have 11 bits.
    Tf32,
    /// f32 with features of bf16.
    Bf16,
    /// Variables and features of f16.
    F16,
}

impl Numbers {
    /// Returns the largest relative error that a tensor may have, and an error that is not told from 0.
    ///
    /// A rounding may move a value over the edge of a ReLU, and with it a whole gradient; in a network, which has many of
    /// them, so much that only the comparison with the reference says something.
    fn bounds(self, is_network: bool) -> (f64, f64) {
        match (self, is_network) {
            (Numbers::F32, false) => (1e-4, 1e-6),
            (Numbers::F32, true) => (2e-3, 1e-5),
            (Numbers::Tf32 | Numbers::F16, false) => (0.1, 5e-4),
            (Numbers::Bf16, false) => (0.3, 4e-3),
            (_, true) => (1.0, 0.02),
        }
    }
}

/// One comparison.
#[derive(Clone, Debug)]
struct Case {
    numbers: Numbers,
    /// Whether a whole network runs, or a dense block and a transition.
    is_network: bool,
    mode: Mode,
    is_bottleneck: bool,
    drop_rate: f64,
    is_partly_frozen: bool,
    recompute: bool,
    size: [i64; 4],
}

impl Case {
    /// Runs the layers of the case.
    fn forward(&self, vs: &mut VarStore, kind: Kind, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        let (dropout, root) = (Dropout::new(self.drop_rate).after_every_conv(), vs.root());
        if self.is_network {
            let config = DenseNetConfig::new(5)
                .with_stem(StemConfig::imagenet())
                .with_initial_channels(12)
                .with_growth_rate(8)
                .with_layers_per_block([3, 2])
                .with_dropout(dropout)
                .with_seed(7);
            let config = if self.is_bottleneck { config } else { config.with_plain_layers() };
            let net = config.build(&root)?;
            self.prepare(vs, kind);
            return net.forward(x, ctx);
        }
        let config = DenseBlockConfig::new(x.size()[1] as usize, 3).with_growth_rate(8).with_dropout(dropout);
        let config = if self.is_bottleneck { config } else { config.with_plain_layers() };
        let channels = config.in_channels + 3 * 8;
        let block = config.build(&(&root / "block"))?;
        let transition =
            TransitionBlockConfig::new(channels, 10).with_dropout(dropout).build(&(&root / "transition"))?;
        self.prepare(vs, kind);
        ctx.in_precision(x.device(), || {
            let features = block.forward(Features::new(x.shallow_clone()), ctx)?;
            Ok(transition.forward(&features, ctx)?.data)
        })?
    }

    /// Gives the variables the dtype of the case and, outside of networks, values by a formula; and freezes some.
    fn prepare(&self, vs: &mut VarStore, kind: Kind) {
        for (name, mut variable) in vs.variables() {
            if !self.is_network && name.contains("conv") {
                let scale = (6.0 / variable.size()[1..].iter().product::<i64>() as f64).sqrt();
                no_grad(|| variable.copy_(&(formula(&variable.size()) * scale)));
            }
            if self.is_partly_frozen && (name.contains("denselayer1") || name.contains("norm0")) {
                let _ = variable.set_requires_grad(false);
            }
        }
        vs.set_kind(kind);
    }

    fn name(&self) -> String {
        let layers = if self.is_bottleneck { "bottleneck" } else { "plain" };
        let part = if self.is_network { "network" } else { "block" };
        let mut name = format!("{part} {:?} {layers} {:?} {:?}", self.numbers, self.mode, self.size);
        for (applies, option) in
            [(self.drop_rate > 0.0, "dropout"), (self.is_partly_frozen, "partly frozen"), (self.recompute, "recompute")]
        {
            if applies {
                name = format!("{name} {option}");
            }
        }
        name
    }
}

/// Compares all cases; returns whether the errors of all of them are small enough.
pub fn check(device: Device, small: bool) -> Result<bool> {
    let mut all_hold = true;
    for case in cases(device, small) {
        CudaConfig::new().with_tf32(case.numbers == Numbers::Tf32).apply()?;
        let exact = pass(&case, Device::Cpu, None)?;
        let [fused, reference] = [Execution::Fused, Execution::Reference].map(|execution| {
            let own = pass(&case, device, Some(execution))?;
            Ok::<_, densenet::Error>(errors(&own, &exact))
        });
        let (fused, reference) = (fused?, reference?);
        let (most, rounding) = case.numbers.bounds(case.is_network);
        let holds = |fused: f64, reference: f64| fused <= 2.0 * reference + rounding;
        let is_good = holds(fused.median, reference.median)
            && holds(fused.largest, reference.largest)
            && fused.largest.max(reference.largest) <= most;
        all_hold &= is_good;
        print(
            "parity",
            json!({
                "case": case.name(), "holds": is_good, "worst_tensor": fused.worst,
                "fused_median": fused.median, "fused_largest": fused.largest,
                "reference_median": reference.median, "reference_largest": reference.largest,
            }),
        );
    }
    CudaConfig::new().apply()?;
    Ok(all_hold)
}

/// The cases: every dtype with every kind of layer and mode, and each option once.
fn cases(device: Device, small: bool) -> Vec<Case> {
    let numbers: &[Numbers] = match is_gpu(device) {
        true => &[Numbers::F32, Numbers::Tf32, Numbers::Bf16, Numbers::F16],
        false => &[Numbers::F32, Numbers::Bf16, Numbers::F16],
    };
    let mut cases = Vec::new();
    for &numbers in numbers {
        for is_network in [false, true] {
            for &size in sizes(is_network, small) {
                for mode in [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval] {
                    for is_bottleneck in [true, false] {
                        let plain = Case {
                            numbers,
                            is_network,
                            mode,
                            is_bottleneck,
                            drop_rate: 0.0,
                            is_partly_frozen: false,
                            recompute: false,
                            size,
                        };
                        if mode == Mode::Train && size == sizes(is_network, small)[0] {
                            cases.push(Case { drop_rate: 0.3, ..plain.clone() });
                            cases.push(Case { is_partly_frozen: true, ..plain.clone() });
                            cases.push(Case { recompute: true, ..plain.clone() });
                        }
                        cases.push(plain);
                    }
                }
            }
        }
    }
    cases
}

/// Sizes of inputs: odd sides, one image alone, and the usual.
fn sizes(is_network: bool, small: bool) -> &'static [[i64; 4]] {
    match (is_network, small) {
        (false, true) => &[[8, 13, 25, 17]],
        (false, false) => &[[5, 13, 33, 17], [1, 13, 31, 7], [16, 32, 28, 28]],
        (true, true) => &[[4, 3, 67, 45]],
        (true, false) => &[[8, 3, 67, 45], [1, 3, 97, 129], [16, 3, 64, 64]],
    }
}

/// Numbers in (−1, 1) by a formula, in f64 on the CPU.
fn formula(size: &[i64]) -> Tensor {
    let count = size.iter().product::<i64>();
    let noise = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7 + count as f64 * 0.37).sin() * 43758.5453;
    noise.fmod(1.0).view(size)
}

/// Returns outputs, gradients and running statistics of a pass, by name, in f64 on the CPU. Without an execution the pass
/// is the reference in f64.
fn pass(case: &Case, device: Device, execution: Option<Execution>) -> Result<Vec<(String, Tensor)>> {
    let mut vs = VarStore::new(device);
    let kind = match (execution, case.numbers) {
        (None, _) => Kind::Double,
        (_, Numbers::F16) => Kind::Half,
        _ => Kind::Float,
    };
    let precision = match (execution, case.numbers) {
        (Some(_), Numbers::Bf16) if is_gpu(device) => Precision::BFloat16,
        (Some(_), Numbers::Bf16) => Precision::EmulatedBFloat16,
        _ => Precision::Float32,
    };
    let ctx = ForwardContext::new(case.mode)
        .with_execution(execution.unwrap_or(Execution::Reference))
        .with_precision(precision)
        .with_seed(3);
    let ctx = if case.recompute { ctx.with_recompute() } else { ctx };

    let place = |tensor: Tensor| tensor.to_kind(kind).to_device(device);
    let x = place(formula(&case.size)).set_requires_grad(true);
    let y = case.forward(&mut vs, kind, &x, &ctx)?;
    (&y * place(formula(&y.size()))).sum(y.kind()).backward();
    let mut tensors = vec![("output".to_owned(), y.detach()), ("input".to_owned(), x.grad())];
    for (name, variable) in vs.variables() {
        let gradient = variable.grad();
        match (gradient.defined(), variable.requires_grad()) {
            (true, true) => tensors.push((name, gradient)),
            (false, false) => tensors.push((name, variable.detach())),
            // A gradient that is missing, or too much, is an error of its own.
            (has_gradient, _) => tensors.push((format!("{name}: gradient {has_gradient}"), variable.detach())),
        }
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(Device::Cpu).to_kind(Kind::Double))).collect())
}

/// Relative errors over the tensors of a pass.
struct Errors {
    median: f64,
    largest: f64,
    /// The name of the tensor with the largest error.
    worst: String,
}

fn errors(own: &[(String, Tensor)], exact: &[(String, Tensor)]) -> Errors {
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    let largest = exact.iter().map(|(_, tensor)| norm(tensor)).fold(0.0, f64::max);
    let mut errors: Vec<(f64, &str)> = own
        .iter()
        .zip(exact)
        .map(|((name, own), (expected_name, expected))| {
            let error = match name == expected_name && own.size() == expected.size() {
                // Nothing is exact that is tiny beside all others.
                true => norm(&(own - expected)) / norm(expected).max(1e-3 * largest),
                false => f64::INFINITY,
            };
            // NaN sorts last, and is no small error.
            (error, name.as_str())
        })
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (largest, worst) = *errors.last().expect("a pass has an output");
    Errors { median: errors[errors.len() / 2].0, largest, worst: worst.to_owned() }
}
