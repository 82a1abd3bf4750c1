//! Whole networks give by the fused engine what they give by the reference. Blocks:
//! `src/nn/fused/tests.rs`.

use crate::numbers::numbers;
use crate::passes::{Pass, assert_equal, assert_same};
use crate::variables::named_variables;
use densenet::SgdConfig;
use densenet::models::{DenseNetConfig, Model};
use densenet::nn::{Dropout, Execution, ForwardContext, Initialization, Mode};
use densenet::optim::Optimizer;
use densenet::tch::nn::VarStore;
use densenet::tch::{Device, Kind, Reduction, Tensor, no_grad};

/// Makes norm weights negative and zero here and there, and everything else no round number.
fn disturb(vs: &VarStore) {
    no_grad(|| {
        for (number, variable) in named_variables(vs).iter().enumerate() {
            let mut tensor = variable.tensor.shallow_clone();
            let noise =
                (Tensor::arange(tensor.numel() as i64, (tensor.kind(), Device::Cpu)) * (1.3 + number as f64)).sin();
            let noise = noise.view_as(&tensor);
            let name = variable.name.as_str();
            if name.ends_with("running_var") {
                tensor.copy_(&(noise * 0.4 + 1.0));
            } else if name.contains("norm") && name.ends_with("weight") {
                tensor.copy_(&(noise * 1.5));
                let _ = tensor.narrow(0, 0, 1).zero_();
            } else {
                let _ = tensor.g_add_(&(noise * 0.2));
            }
        }
    });
}

/// Output, gradient of the input, and every variable's gradient (or, of a running statistic, its
/// value) after one pass.
fn pass(
    vs: &VarStore,
    x: &Tensor,
    execution: Execution,
    mode: Mode,
    forward: impl Fn(&Tensor, &ForwardContext) -> Tensor,
) -> Pass {
    let before: Vec<_> = named_variables(vs).into_iter().map(|v| (v.tensor.copy(), v)).collect();
    let x = x.copy().set_requires_grad(true);
    let y = forward(&x, &ForwardContext::new(mode).with_execution(execution));
    let projection = numbers(&y.size(), 9).to_kind(Kind::Float).to_kind(y.kind());
    (&y * projection).sum(y.kind()).backward();
    let mut result = vec![("output".to_owned(), y.detach()), ("input".to_owned(), x.grad())];
    no_grad(|| {
        for (old, variable) in before {
            let mut tensor = variable.tensor.shallow_clone();
            if tensor.requires_grad() {
                result.push((variable.name, tensor.grad().copy()));
                tensor.zero_grad();
            } else {
                result.push((variable.name, tensor.copy()));
                tensor.copy_(&old);
            }
        }
    });
    result
}

fn check_net(config: &DenseNetConfig, size: [i64; 4], tolerance: f64) {
    let mut vs = VarStore::new(Device::Cpu);
    let net = config.build(&vs.root()).expect("a valid net");
    vs.double();
    disturb(&vs);
    let x = (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 1.7).sin().view(size);
    let forward = |x: &Tensor, ctx: &ForwardContext| net.forward(x, ctx).expect("images that fit");
    for mode in [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval] {
        let own = pass(&vs, &x, Execution::Fused, mode, forward);
        let reference = pass(&vs, &x, Execution::Reference, mode, forward);
        assert_equal(&own, &reference, tolerance, &format!("net on {size:?}, {mode:?}"));
    }
}

#[test]
fn fused_net_equals_the_reference_in_f64() {
    // A whole net amplifies rounding by some orders of magnitude.
    for size in [[2, 1, 96, 96], [3, 1, 53, 71], [1, 1, 97, 66]] {
        check_net(&DenseNetConfig::fashion_mnist(), size, 1e-8);
    }
    check_net(&DenseNetConfig::d2l(), [2, 1, 45, 45], 1e-8);
    check_net(&DenseNetConfig::cifar(10, 6).expect("a depth"), [3, 3, 13, 15], 1e-8);
    check_net(&DenseNetConfig::cifar_bc(22, 6).expect("a depth"), [3, 3, 13, 15], 1e-8);
    check_net(&DenseNetConfig::densenet121(5).with_layers_per_block([2, 1, 2, 1]), [2, 3, 65, 71], 1e-8);
}

#[test]
fn saved_activations_change_no_bit() {
    let net = DenseNetConfig::cifar_bc(22, 6).expect("a depth").with_dropout(Dropout::new(0.2));
    for dropout in [Dropout::new(0.2), Dropout::new(0.2).after_every_conv()] {
        let vs = VarStore::new(Device::Cpu);
        let net = net.clone().with_dropout(dropout).build(&vs.root()).expect("a valid net");
        disturb(&vs);
        let x = numbers(&[5, 3, 20, 16], 1).to_kind(Kind::Float);
        for mode in [Mode::Train, Mode::TrainFrozenNorms] {
            let [kept, again] = [false, true].map(|recomputes| {
                let forward = |x: &Tensor, ctx: &ForwardContext| {
                    net.forward(x, &if recomputes { ctx.with_recompute() } else { *ctx }).expect("images that fit")
                };
                pass(&vs, &x, Execution::Fused, mode, forward)
            });
            assert_same(&again, &kept, &format!("{dropout:?}, {mode:?}"));
        }
    }
}

#[test]
fn one_pixel_that_is_no_number_reaches_the_loss() {
    let nets = [DenseNetConfig::fashion_mnist(), DenseNetConfig::densenet121(3).with_input_channels(1)];
    for (config, mode) in nets.iter().flat_map(|net| [Mode::Train, Mode::Eval].map(|mode| (net, mode))) {
        let vs = VarStore::new(Device::Cpu);
        let net = config.build(&vs.root()).expect("a valid net");
        let x = Tensor::rand([2, 1, 48, 48], (Kind::Float, Device::Cpu));
        let _ = x.get(1).get(0).get(20).get(30).fill_(f64::NAN);
        let ctx = ForwardContext::new(mode).with_execution(Execution::Fused);
        let loss = net.forward(&x, &ctx).expect("images that fit").sum(Kind::Float);
        assert!(loss.double_value(&[]).is_nan(), "{mode:?}");
    }
}

/// All trainable variables in one row, in f64, after 50 steps of SGD on one batch.
fn after_fifty_steps(seed: i64, kind: Kind, execution: Execution) -> Tensor {
    let mut vs = VarStore::new(Device::Cpu);
    let net = DenseNetConfig::fashion_mnist().with_initialization(Initialization::KaimingFanIn).with_seed(seed as u64);
    let net = net.build(&vs.root()).expect("a valid net");
    let x = numbers(&[4, 1, 36, 36], seed).abs().to_kind(kind);
    let y = Tensor::from_slice(&[3_i64, 1, 4, 1]);
    vs.set_kind(kind);
    let mut optimizer = SgdConfig::new(1e-3).build(&vs).expect("a valid rate");
    let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
    for _ in 0..50 {
        optimizer.zero_grad().expect("an update");
        let logits = net.forward(&x, &ctx).expect("images that fit");
        logits.cross_entropy_loss::<Tensor>(&y, None, Reduction::Mean, -100, 0.0).backward();
        optimizer.step(1e-3).expect("an update");
    }
    let trained = named_variables(&vs).into_iter().filter(|variable| variable.trainable);
    let rows: Vec<_> = trained.map(|v| v.tensor.detach().to_kind(Kind::Double).contiguous().view(-1)).collect();
    Tensor::cat(&rows, 0)
}

#[test]
fn fifty_fused_steps_stay_as_close_to_f64_as_reference_steps() {
    let seeds = 0..5;
    let mut ratio = 1.0;
    for seed in seeds.clone() {
        let exact = after_fifty_steps(seed, Kind::Double, Execution::Reference);
        let error = |execution| (after_fifty_steps(seed, Kind::Float, execution) - &exact).norm().double_value(&[]);
        ratio *= error(Execution::Fused) / error(Execution::Reference);
    }
    // Training amplifies rounding by chance, the more the higher the rate, so the ratio is a
    // geometric mean over seeds.
    let ratio = f64::powf(ratio, 1.0 / seeds.count() as f64);
    println!("fused steps deviate from f64 {ratio:.2} times as much as reference steps");
    assert!(ratio <= 2.0, "{ratio}");
}
