//! The fused engine gives what the composition of libtorch's operations gives.

use densenet::models::{DenseNetConfig, Model};
use densenet::nn::{DenseBlockConfig, Execution, Features, ForwardContext, LayerKind, Mode};
use densenet::tch::nn::VarStore;
use densenet::tch::{Device, Kind, Tensor, no_grad};
use densenet::torch::named_variables;

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

/// Output, gradient of the input, and every variable's gradient (or, of a running statistic, its value) after one pass.
fn pass(
    vs: &VarStore,
    x: &Tensor,
    execution: Execution,
    mode: Mode,
    forward: impl Fn(&Tensor, &ForwardContext) -> Tensor,
) -> Vec<(String, Tensor)> {
    let before: Vec<_> = named_variables(vs).into_iter().map(|v| (v.tensor.copy(), v)).collect();
    let x = x.copy().set_requires_grad(true);
    let y = forward(&x, &ForwardContext::new(mode).with_execution(execution));
    let projection = (Tensor::arange(y.numel() as i64, (y.kind(), Device::Cpu)) * 0.7).cos().view_as(&y);
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

/// Fails where two passes deviate from one another by more than `tolerance` of a tensor's largest value.
fn assert_equal(own: &[(String, Tensor)], reference: &[(String, Tensor)], tolerance: f64, what: &str) {
    let largest = reference.iter().map(|(_, t)| t.abs().max().double_value(&[])).fold(0.0, f64::max);
    for ((name, own), (_, reference)) in own.iter().zip(reference) {
        assert_eq!(own.size(), reference.size(), "{what}: {name}");
        let deviation = (own - reference).abs().max().double_value(&[]);
        // The gradient of a bias before a norm is 0 but for rounding and has no scale of its own.
        let scale = match name.contains("conv") && name.ends_with("bias") {
            true => largest,
            false => reference.abs().max().double_value(&[]).max(1e-3 * largest),
        };
        assert!(deviation <= tolerance * scale, "{what}: {name} deviates by {deviation:e} of {scale:e}");
    }
}

fn check_block(layers: usize, growth: usize, size: [i64; 4], kind: Kind, tolerance: f64) {
    let mut vs = VarStore::new(Device::Cpu);
    densenet::tch::manual_seed(1);
    let block = DenseBlockConfig::new(size[1] as usize, layers)
        .with_growth_rate(growth)
        .with_layer_kind(LayerKind::Plain)
        .build(&vs.root())
        .expect("a valid block");
    if kind == Kind::Double {
        vs.double();
    }
    disturb(&vs);
    let x = (Tensor::arange(size.iter().product::<i64>(), (kind, Device::Cpu)) * 1.7).sin().view(size);
    let forward = |x: &Tensor, ctx: &ForwardContext| block.forward(Features::new(x.shallow_clone()), ctx).data;
    for mode in [Mode::Train, Mode::Eval] {
        let own = pass(&vs, &x, Execution::Fused, mode, forward);
        let reference = pass(&vs, &x, Execution::Composed, mode, forward);
        assert_equal(&own, &reference, tolerance, &format!("{layers} layers on {size:?}, {mode:?}"));
    }
}

#[test]
fn fused_blocks_equal_composed_ones_in_f64() {
    for (layers, growth, size) in [
        (1, 1, [2, 1, 3, 3]),
        (2, 10, [4, 3, 8, 8]),
        (3, 5, [1, 7, 5, 9]),
        (4, 32, [3, 64, 11, 11]),
        (8, 3, [5, 6, 1, 2]),
    ] {
        // Products and sums in another order, in f64.
        check_block(layers, growth, size, Kind::Double, 1e-11);
    }
}

#[test]
fn fused_blocks_equal_composed_ones_in_f32() {
    for (layers, growth, size) in [(2, 10, [4, 3, 8, 8]), (4, 32, [3, 64, 23, 23])] {
        // The same, in f32.
        check_block(layers, growth, size, Kind::Float, 2e-4);
    }
}

fn check_net(config: &DenseNetConfig, size: [i64; 4], tolerance: f64) {
    let mut vs = VarStore::new(Device::Cpu);
    densenet::tch::manual_seed(2);
    let net = config.build(&vs.root()).expect("a valid net");
    vs.double();
    disturb(&vs);
    let x = (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 1.7).sin().view(size);
    let forward = |x: &Tensor, ctx: &ForwardContext| net.forward(x, ctx).expect("pictures that fit");
    for mode in [Mode::Train, Mode::Eval] {
        let own = pass(&vs, &x, Execution::Fused, mode, forward);
        let reference = pass(&vs, &x, Execution::Composed, mode, forward);
        assert_equal(&own, &reference, tolerance, &format!("net on {size:?}, {mode:?}"));
    }
}

#[test]
fn fused_net_equals_composed_one_in_f64() {
    // A whole net amplifies rounding by some orders of magnitude.
    for size in [[2, 1, 96, 96], [3, 1, 53, 71], [1, 1, 97, 66]] {
        check_net(&DenseNetConfig::fashion_mnist(), size, 1e-8);
    }
    check_net(&DenseNetConfig::d2l(), [2, 1, 45, 45], 1e-8);
}
