//! Blocks with known variables, and the results of a pass through them.

use crate::nn::fused::Engine;
use crate::nn::{DenseBlock, DenseBlockConfig, Features, ForwardContext, LayerKind, Mode};
use crate::torch::named_variables;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

pub const BACKENDS: [(&str, Engine); 2] =
    [("kernels", Engine::CpuKernels), ("tensor operations", Engine::TensorOperations)];

/// Plain layers, and bottlenecks narrower and wider than what they read.
pub const LAYER_KINDS: [LayerKind; 3] =
    [LayerKind::Plain, LayerKind::Bottleneck { factor: 1 }, LayerKind::Bottleneck { factor: 4 }];

pub const MODES: [Mode; 3] = [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval];

/// Numbers in (−1, 1) by a formula, in f64: libtorch's generator is shared with the tests that run beside one.
pub fn numbers(size: &[i64], salt: i64) -> Tensor {
    let phase = Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 1.7 + salt as f64 * 0.37;
    (phase.sin() * 43758.5453).fmod(1.0).view(size)
}

/// A block in this dtype whose variables follow from a formula: norm weights are negative and 0 here and there, and
/// nothing else is a round number.
pub fn built(config: &DenseBlockConfig, kind: Kind) -> (VarStore, DenseBlock) {
    let mut vs = VarStore::new(Device::Cpu);
    let block = config.build(&vs.root()).expect("a valid block");
    fill(&mut vs, kind);
    (vs, block)
}

/// Gives all variables this dtype and values that follow from a formula.
pub fn fill(vs: &mut VarStore, kind: Kind) {
    for (number, mut variable) in named_variables(vs).into_iter().enumerate() {
        let size = variable.tensor.size();
        let count = variable.tensor.numel() as i64;
        let noise = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * (1.3 + number as f64)).sin().view(&size[..]);
        let value = match variable.name.rsplit('.').next() {
            _ if size.len() == 4 => {
                let scale = (6.0 / (size[1] * size[2] * size[3]) as f64).sqrt();
                numbers(&size, number as i64) * scale + noise * 0.2
            }
            Some("running_var") => noise * 0.4 + 1.0,
            Some("weight") => noise * 1.5,
            _ => noise * 0.2,
        };
        if variable.name.contains("norm") && variable.name.ends_with("weight") {
            let _ = value.narrow(0, 0, 1).zero_();
        }
        no_grad(|| variable.tensor.copy_(&value));
    }
    vs.set_kind(kind);
}

pub fn is_in(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.contains(part))
}

/// Freezes the variables whose names have one of these parts.
pub fn freeze(vs: &VarStore, parts: &[&str]) {
    for variable in named_variables(vs).into_iter().filter(|variable| is_in(&variable.name, parts)) {
        let _ = variable.tensor.set_requires_grad(false);
    }
}

pub fn run_on(engine: Engine, block: &DenseBlock, x: Features, ctx: &ForwardContext) -> Features {
    block.fused(engine.backend().expect("a fused engine"), x, ctx).expect("features that fit")
}

pub fn reference(block: &DenseBlock, x: Features, ctx: &ForwardContext) -> Features {
    block.reference(x, ctx).expect("features that fit")
}

/// Output, gradient of the input, and every variable's gradient (or, of a running statistic, its value) after one pass.
pub struct Pass(pub Vec<(String, Tensor)>);

impl Pass {
    /// Runs forward and backward; the variables are afterwards what they were before.
    pub fn of(vs: &VarStore, x: &Tensor, forward: &dyn Fn(Features) -> Features) -> Pass {
        let before: Vec<_> = named_variables(vs).into_iter().map(|v| (v.tensor.detach().copy(), v)).collect();
        let x = x.copy().set_requires_grad(true);
        let y = forward(Features::new(x.shallow_clone())).data;
        let projection = numbers(&y.size(), 9).to_kind(Kind::Float).to_kind(y.kind());
        (&y * projection).sum(y.kind()).backward();
        let mut result = vec![("output".to_owned(), y.detach()), ("input".to_owned(), x.grad())];
        for (old, mut variable) in before {
            if variable.tensor.requires_grad() {
                result.push((variable.name, variable.tensor.grad().copy()));
                variable.tensor.zero_grad();
            } else {
                result.push((variable.name, variable.tensor.detach().copy()));
                no_grad(|| variable.tensor.copy_(&old));
            }
        }
        Pass(result)
    }

    /// Median and maximum over tensors of the relative deviation from `exact`.
    pub fn deviations(&self, exact: &Pass) -> (f64, f64) {
        let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
        let pairs = self.pairs(exact);
        let mut all: Vec<f64> =
            pairs.map(|(_, own, exact)| norm(&(own.to_kind(Kind::Double) - exact)) / norm(exact)).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all[all.len() - 1])
    }

    /// The tensors of two passes side by side.
    pub fn pairs<'a>(&'a self, other: &'a Pass) -> impl Iterator<Item = (&'a str, &'a Tensor, &'a Tensor)> {
        assert_eq!(self.0.len(), other.0.len());
        self.0.iter().zip(&other.0).map(|((name, own), (other_name, other))| {
            assert_eq!(name, other_name);
            assert_eq!(own.size(), other.size(), "{name}");
            (name.as_str(), own, other)
        })
    }
}

/// Fails where two passes deviate from one another by more than `tolerance` of a tensor's largest value.
pub fn assert_equal(own: &Pass, expected: &Pass, tolerance: f64, what: &str) {
    let most = |tensor: &Tensor| if tensor.defined() { tensor.abs().max().double_value(&[]) } else { 0.0 };
    let largest = expected.0.iter().map(|(_, tensor)| most(tensor)).fold(0.0, f64::max);
    for (name, own, expected) in own.pairs(expected) {
        assert_eq!(own.defined(), expected.defined(), "{what}: {name}");
        // The gradient of a bias before a norm is 0 but for rounding and has no scale of its own.
        let scale = match name.contains("conv") && name.ends_with("bias") {
            true => largest,
            false => most(expected).max(1e-3 * largest),
        };
        let deviation = if own.defined() { most(&(own - expected)) } else { 0.0 };
        assert!(deviation <= tolerance * scale, "{what}: {name} deviates by {deviation:e} of {scale:e}");
    }
}
