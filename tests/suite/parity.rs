//! The same numbers as PyTorch, from the same weights and inputs. `tests/fixtures/golden.py` makes the golden values.

use crate::golden::{cross_entropy, deviation, fill, uniform};
use crate::variables::named_variables;
use densenet::nn::{ForwardContext, Mode};
use densenet::optim::{AdamWConfig, Optimizer, ParameterGroup, SgdConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::{DenseNet, DenseNetConfig, Model};
use serde_json::Value;
use std::collections::BTreeMap;

/// As in golden.py: errors in f32 are geometric means over this number of batches.
const BATCHES: usize = 8;

fn golden() -> Value {
    serde_json::from_str(include_str!("../fixtures/golden.json")).expect("golden.json is valid")
}

struct Case {
    config: DenseNetConfig,
    shape: Vec<i64>,
    has_conv_bias: bool,
}

fn plain() -> Case {
    Case { config: DenseNetConfig::fashion_mnist(), shape: vec![2, 1, 96, 96], has_conv_bias: true }
}

fn bottleneck() -> Case {
    let config = DenseNetConfig::new(7)
        .with_growth_rate(8)
        .with_layers_per_block([2, 3, 2])
        .with_initial_channels(16)
        .with_bottleneck(4);
    Case { config, shape: vec![3, 3, 64, 64], has_conv_bias: false }
}

fn densenet121() -> Case {
    Case { config: DenseNetConfig::densenet121(1000), shape: vec![2, 3, 224, 224], has_conv_bias: false }
}

fn bc100() -> Case {
    let config = DenseNetConfig::cifar_bc(100, 12).expect("a depth of the paper's");
    // Of few images, rounding moves one value over the edge of a ReLU or none, and by that chance decides the error.
    Case { config, shape: vec![16, 3, 32, 32], has_conv_bias: false }
}

impl Case {
    fn build(&self, kind: Kind, batch: usize) -> (VarStore, DenseNet, Tensor, Tensor) {
        let mut vs = VarStore::new(Device::Cpu);
        let model = self.config.build(&vs.root()).expect("a valid configuration");
        vs.double();
        fill(&vs);
        vs.set_kind(kind);
        let count: i64 = self.shape.iter().product();
        let x = (uniform(count as usize, 9001 + batch) + 0.5).view(self.shape.as_slice()).to_kind(kind);
        let y = (Tensor::arange(self.shape[0], (Kind::Int64, Device::Cpu)) * 7).remainder(self.config.classes as i64);
        (vs, model, x, y)
    }

    /// Logits, loss, gradients and, in training, running statistics after one pass; in f64.
    fn one_pass(&self, mode: Mode, kind: Kind, batch: usize) -> BTreeMap<String, Tensor> {
        let (vs, model, x, y) = self.build(kind, batch);
        let logits = model.forward(&x, &ForwardContext::new(mode)).expect("a fitting input");
        let loss = cross_entropy(&logits, &y);
        loss.backward();
        let mut results = BTreeMap::from([("logits".to_owned(), logits.detach()), ("loss".to_owned(), loss.detach())]);
        for variable in named_variables(&vs) {
            if variable.trainable {
                results.insert(format!("grad {}", variable.name), variable.tensor.grad());
            } else if mode == Mode::Train {
                results.insert(format!("buffer {}", variable.name), variable.tensor);
            }
        }
        results.into_iter().map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect()
    }

    /// Whether a gradient is 0 but for rounding: in training, that of a convolution's bias before a norm.
    fn is_zero(&self, name: &str, mode: Mode) -> bool {
        self.has_conv_bias && mode == Mode::Train && name.contains("conv") && name.ends_with("bias")
    }
}

fn norm(t: &Tensor) -> f64 {
    t.norm().double_value(&[])
}

fn check_f64(name: &str, case: &Case) {
    let golden = &golden()[name]["modes"];
    for (word, mode) in [("train", Mode::Train), ("eval", Mode::Eval)] {
        let golden = golden[word]["f64"].as_object().expect("an object");
        let own = case.one_pass(mode, Kind::Double, 0);
        assert_eq!(own.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>(), "{word}");
        // Gradients that are 0 but for rounding have no scale of their own; this is that of all gradients.
        let scale = own.iter().filter(|(n, _)| n.starts_with("grad ")).map(|(_, t)| norm(t)).fold(0.0, f64::max);
        for (name, tensor) in &own {
            let (deviation, golden_norm) = deviation(tensor, &golden[name]);
            let scale = if case.is_zero(name, mode) { scale } else { golden_norm };
            assert!(deviation <= 1e-10 * scale, "{word} {name}: {deviation:e} of {scale:e}");
        }
    }
}

fn check_f32(name: &str, case: &Case) {
    let golden = &golden()[name]["modes"];
    for (word, mode) in [("train", Mode::Train), ("eval", Mode::Eval)] {
        let golden = |key: &str| golden[word]["f32"][key].as_f64().expect("a number");
        let [mut median, mut maximum, mut logits] = [1.0; 3];
        for batch in 0..BATCHES {
            let [exact, own] = [Kind::Double, Kind::Float].map(|kind| case.one_pass(mode, kind, batch));
            let error = |name: &str| norm(&(&own[name] - &exact[name])) / norm(&exact[name]);
            let gradients = exact.keys().filter(|name| name.starts_with("grad ") && !case.is_zero(name, mode));
            let mut errors: Vec<f64> = gradients.map(|name| error(name)).collect();
            errors.sort_by(f64::total_cmp);
            let root = |error: f64| error.powf(1.0 / BATCHES as f64);
            median *= root(errors[errors.len() / 2]);
            maximum *= root(errors[errors.len() - 1]);
            logits *= root(error("logits"));
        }
        // Twice PyTorch's own error: another order of the same sums moves the error, worse arithmetic multiplies it.
        for (what, own, golden) in [
            ("median gradient", median, golden("gradient_error_median")),
            ("maximum gradient", maximum, golden("gradient_error_maximum")),
            ("logits", logits, golden("logits_error")),
        ] {
            println!("{name} {word} {what} error in f32: {own:.2e}, PyTorch's {golden:.2e}");
            assert!(own <= 2.0 * golden, "{word} {what}: {own:e}, PyTorch's {golden:e}");
        }
    }
}

#[test]
fn plain_net_equals_pytorch_in_f64() {
    check_f64("plain", &plain());
}

#[test]
fn bottleneck_net_equals_pytorch_in_f64() {
    check_f64("bottleneck", &bottleneck());
}

#[test]
fn densenet121_equals_pytorch_in_f64() {
    check_f64("densenet121", &densenet121());
}

#[test]
fn densenet_bc_for_cifar_equals_pytorch_in_f64() {
    check_f64("bc100", &bc100());
}

#[test]
fn densenet121_is_as_exact_as_pytorch_in_f32() {
    check_f32("densenet121", &densenet121());
}

#[test]
fn densenet_bc_for_cifar_is_as_exact_as_pytorch_in_f32() {
    check_f32("bc100", &bc100());
}

#[test]
fn plain_net_is_as_exact_as_pytorch_in_f32() {
    check_f32("plain", &plain());
}

#[test]
fn bottleneck_net_is_as_exact_as_pytorch_in_f32() {
    check_f32("bottleneck", &bottleneck());
}

fn check_ten_steps<O: Optimizer>(name: &str, rate: f64, build: impl FnOnce(&VarStore) -> densenet::Result<O>) {
    check_ten_scheduled_steps(name, rate, |_| 1.0, build);
}

fn check_ten_scheduled_steps<O: Optimizer>(
    name: &str,
    rate: f64,
    factor: impl Fn(usize) -> f64,
    build: impl FnOnce(&VarStore) -> densenet::Result<O>,
) {
    let golden = &golden()[name];
    let (vs, model, x, y) = bottleneck().build(Kind::Double, 0);
    let mut optimizer = build(&vs).expect("a valid configuration");
    for (step, golden) in golden["losses"].as_array().expect("an array").iter().enumerate() {
        optimizer.zero_grad().unwrap();
        let loss = cross_entropy(&model.forward(&x, &ForwardContext::new(Mode::Train)).expect("fits"), &y);
        loss.backward();
        optimizer.step(rate * factor(step)).unwrap();
        let (own, golden) = (loss.double_value(&[]), golden.as_f64().expect("a number"));
        // Ten steps amplify rounding of 1e-16 by a few orders of magnitude.
        assert!((own - golden).abs() <= 1e-9 * golden.abs(), "step {step}: {own}, PyTorch's {golden}");
    }
    for variable in named_variables(&vs) {
        let (deviation, scale) = deviation(&variable.tensor, &golden["variables"][&variable.name]);
        assert!(deviation <= 1e-8 * scale, "{}: {deviation:e} of {scale:e}", variable.name);
    }
}

#[test]
fn ten_steps_of_sgd_with_momentum_equal_pytorch() {
    check_ten_steps("sgd", 0.05, |vs| SgdConfig::new(0.05).with_momentum(0.9).with_weight_decay(1e-4).build(vs));
}

#[test]
fn ten_steps_of_sgd_with_nesterov_momentum_equal_pytorch() {
    let config = SgdConfig::new(0.05).with_nesterov_momentum(0.9);
    check_ten_steps("sgd_nesterov", 0.05, |vs| config.build(vs));
}

#[test]
fn ten_steps_of_adamw_equal_pytorch() {
    check_ten_steps("adamw", 1e-3, |vs| AdamWConfig::new(1e-3).build(vs));
}

/// As `halved` of golden.py.
fn halved(step: usize) -> f64 {
    if step < 5 { 1.0 } else { 0.5 }
}

#[test]
fn ten_steps_of_sgd_with_groups_and_a_schedule_equal_pytorch() {
    let config = SgdConfig::new(0.01)
        .with_momentum(0.9)
        .with_weight_decay(0.1)
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(0.05))
        .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0));
    check_ten_scheduled_steps("sgd_groups", 0.01, halved, |vs| config.build(vs));
}

#[test]
fn ten_steps_of_adamw_with_groups_and_a_schedule_equal_pytorch() {
    let config = AdamWConfig::new(1e-4)
        .with_weight_decay(0.1)
        .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0))
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(1e-3));
    check_ten_scheduled_steps("adamw_groups", 1e-4, halved, |vs| config.build(vs));
}
