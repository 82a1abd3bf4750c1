//! The fused engine gives what the composition of libtorch's operations gives.

use crate::numbers::numbers;
use densenet::SgdConfig;
use densenet::models::{DenseNetConfig, Model};
use densenet::nn::{
    ConvBias, DenseBlockConfig, Dropout, DropoutPlace, Execution, Features, ForwardContext, LayerKind, Memory, Mode,
};
use densenet::optim::Optimizer;
use densenet::tch::nn::VarStore;
use densenet::tch::{Device, Kind, Reduction, Tensor, no_grad};
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

/// Plain layers, and bottlenecks narrower and wider than what they read.
const LAYER_KINDS: [LayerKind; 3] =
    [LayerKind::Plain, LayerKind::Bottleneck { factor: 1 }, LayerKind::Bottleneck { factor: 4 }];

fn check_block(layers: usize, growth: usize, size: [i64; 4], kind: Kind, tolerance: f64) {
    for layer_kind in LAYER_KINDS {
        check_block_of(layer_kind, layers, growth, size, kind, tolerance);
    }
}

fn check_block_of(layer_kind: LayerKind, layers: usize, growth: usize, size: [i64; 4], kind: Kind, tolerance: f64) {
    let mut vs = VarStore::new(Device::Cpu);
    densenet::tch::manual_seed(1);
    let block = DenseBlockConfig::new(size[1] as usize, layers)
        .with_growth_rate(growth)
        .with_layer_kind(layer_kind)
        .build(&vs.root())
        .expect("a valid block");
    if kind == Kind::Double {
        vs.double();
    }
    disturb(&vs);
    let x = (Tensor::arange(size.iter().product::<i64>(), (kind, Device::Cpu)) * 1.7).sin().view(size);
    let forward = |x: &Tensor, ctx: &ForwardContext| block.forward(Features::new(x.shallow_clone()), ctx).data;
    for mode in [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval] {
        let own = pass(&vs, &x, Execution::Fused, mode, forward);
        let reference = pass(&vs, &x, Execution::Reference, mode, forward);
        assert_equal(&own, &reference, tolerance, &format!("{layers} layers, {layer_kind:?}, on {size:?}, {mode:?}"));
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
fn frozen_variables_get_no_gradient_and_the_others_the_same() {
    let is_in = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
    for frozen in [
        vec!["conv1.weight"],
        vec!["norm1"],
        vec!["denselayer2", "denselayer3.norm1"],
        vec!["denselayer1", "denselayer2"],
        vec!["denselayer1", "denselayer2.norm1", "denselayer3", "denselayer4"],
        vec!["weight"],
        vec!["norm2", "denselayer1"],
        vec!["conv2"],
        vec!["norm1", "conv1"],
        vec!["denselayer1.conv1", "denselayer1.norm1", "denselayer2.norm2", "denselayer2.conv1"],
    ] {
        for (input_too, layer_kind) in [false, true].into_iter().flat_map(|input| LAYER_KINDS.map(|kind| (input, kind)))
        {
            let mut vs = VarStore::new(Device::Cpu);
            let config = DenseBlockConfig::new(5, 4).with_growth_rate(3).with_layer_kind(layer_kind);
            let block = config.with_conv_bias(ConvBias::With).build(&vs.root()).expect("a valid block");
            vs.double();
            disturb(&vs);
            for variable in named_variables(&vs).into_iter().filter(|variable| is_in(&variable.name, &frozen)) {
                let _ = variable.tensor.set_requires_grad(false);
            }
            let x = numbers(&[3, 5, 6, 7], 2);
            let forward = |x: &Tensor, ctx: &ForwardContext| {
                let input = if input_too { x.detach() } else { x.shallow_clone() };
                // The input gets a gradient in any case, so that `pass` finds one.
                block.forward(Features::new(input), ctx).data + x.sum(Kind::Double)
            };
            let own = pass(&vs, &x, Execution::Fused, Mode::Train, forward);
            let reference = pass(&vs, &x, Execution::Reference, Mode::Train, forward);
            assert_equal(&own, &reference, 1e-11, &format!("{layer_kind:?}, {frozen:?} frozen, input {input_too}"));
            let without = named_variables(&vs).into_iter().filter(|variable| is_in(&variable.name, &frozen));
            assert!(without.into_iter().all(|variable| !variable.tensor.grad().defined()), "{frozen:?}");
        }
    }
}

#[test]
fn dropped_features_are_as_many_as_asked_for_and_their_statistics_come_after() {
    let vs = VarStore::new(Device::Cpu);
    let config = DenseBlockConfig::new(4, 3).with_growth_rate(8).with_layer_kind(LayerKind::Plain);
    let block = config.with_dropout(Dropout::new(0.25)).build(&vs.root()).expect("a valid block");
    let x = numbers(&[16, 4, 20, 20], 1).to_kind(Kind::Float);
    let run = |mode: Mode| {
        let ctx = ForwardContext::new(mode).with_execution(Execution::Fused);
        block.forward(Features::new(x.shallow_clone()), &ctx)
    };
    for mode in [Mode::Train, Mode::TrainFrozenNorms] {
        let zeros = |features: &Features| features.data.narrow(1, 4, 24).eq(0.0).to_kind(Kind::Float);
        let (first, second) = (run(mode), run(mode));
        // The standard deviation of a share of 153,600 values is 0.0011.
        let share = zeros(&first).mean(Kind::Float).double_value(&[]);
        assert!((share - 0.25).abs() < 0.006, "{mode:?}: {share}");
        let both = (zeros(&first) * zeros(&second)).mean(Kind::Float).double_value(&[]);
        assert!((both - 0.0625).abs() < 0.004, "{mode:?}: another mask each time, {both}");
        assert!(first.data.narrow(1, 0, 4).equal(&x), "the block's input is not dropped from");
    }
    let features = run(Mode::Train);
    let own = features.statistics.expect("the engine knows them");
    let data = features.data.to_kind(Kind::Double);
    let known = Features::with_statistics(data, 1e-5).statistics.expect("computed");
    for (own, known) in [(own.mean, known.mean), (own.rstd, known.rstd)] {
        let deviation = (own.to_kind(Kind::Double) - &known).abs().max() / known.abs().max();
        assert!(deviation.double_value(&[]) < 1e-6, "{deviation}");
    }
    let [first, second] = [(); 2].map(|()| run(Mode::Eval).data);
    assert!(first.equal(&second), "nothing is dropped in evaluation");
}

#[test]
fn a_batch_worked_on_in_groups_is_one_batch() {
    // So large that there are several groups with up to two threads, and the last one is smaller.
    for layer_kind in [LayerKind::Plain, LayerKind::Bottleneck { factor: 3 }] {
        check_block_of(layer_kind, 2, 4, [70, 64, 32, 32], Kind::Double, 1e-10);
    }
}

/// Median and maximum over tensors of the relative deviation from `exact`.
fn deviations(own: &[(String, Tensor)], exact: &[(String, Tensor)]) -> (f64, f64) {
    let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
    let all =
        own.iter().zip(exact).map(|((_, own), (_, exact))| norm(&(own.to_kind(Kind::Double) - exact)) / norm(exact));
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    (all[all.len() / 2], all[all.len() - 1])
}

/// Gives kernels and matrices values of a formula: libtorch's generator is the whole process's, and tests beside this one draw from it.
fn fill_kernels(vs: &VarStore, salt: i64) {
    for (number, mut variable) in (0..).zip(named_variables(vs)) {
        let size = variable.tensor.size();
        if let [_, of_each @ ..] = &size[..]
            && !of_each.is_empty()
        {
            let scale = (6.0 / of_each.iter().product::<i64>() as f64).sqrt();
            no_grad(|| variable.tensor.copy_(&(numbers(&size, salt + number) * scale)));
        }
    }
}

/// Median and maximum over tensors of the deviation from f64 of a block's pass in f32: fused, and composed.
fn errors_in_f32(block: &DenseBlockConfig, mode: Mode, x: &Tensor) -> [(f64, f64); 2] {
    let passes = |kind: Kind, execution: Execution| {
        let mut vs = VarStore::new(Device::Cpu);
        let block = block.build(&vs.root()).expect("a valid block");
        fill_kernels(&vs, 0);
        disturb(&vs);
        vs.set_kind(kind);
        // The same values in both kinds.
        let x = x.to_kind(Kind::Float).to_kind(kind);
        pass(&vs, &x, execution, mode, |x, ctx| block.forward(Features::new(x.shallow_clone()), ctx).data)
    };
    let exact = passes(Kind::Double, Execution::Reference);
    [Execution::Fused, Execution::Reference].map(|execution| deviations(&passes(Kind::Float, execution), &exact))
}

#[test]
fn fused_blocks_are_as_exact_as_composed_ones_in_f32() {
    // Few enough values that rounding hardly moves one over the edge of a ReLU, which would decide the error by chance.
    for (layers, growth, size) in [(2, 10, [4, 3, 8, 8]), (4, 8, [2, 16, 11, 11])] {
        for (layer_kind, mode) in LAYER_KINDS
            .into_iter()
            .flat_map(|kind| [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval].map(|mode| (kind, mode)))
        {
            let block =
                DenseBlockConfig::new(size[1] as usize, layers).with_growth_rate(growth).with_layer_kind(layer_kind);
            let [own, libtorch] = errors_in_f32(&block, mode, &numbers(&size, 1));
            let what = format!("{layers} layers, {layer_kind:?}, {mode:?}: fused {own:?}, libtorch {libtorch:?}");
            assert!(own.0 <= 2.0 * libtorch.0 && own.1 <= 2.0 * libtorch.1, "{what}");
        }
    }
}

#[test]
fn values_far_from_zero_cost_no_more_bits_than_in_libtorch() {
    for (mean, layer_kind) in [0.0, 100.0].into_iter().flat_map(|mean| LAYER_KINDS.map(|kind| (mean, kind))) {
        let block = DenseBlockConfig::new(16, 1).with_growth_rate(12).with_layer_kind(layer_kind);
        // Standard deviation 1.
        let x = numbers(&[4, 16, 23, 23], 1) * f64::sqrt(3.0) + mean;
        let [own, libtorch] = errors_in_f32(&block, Mode::Train, &x);
        println!("around {mean}, {layer_kind:?}: fused {own:?}, libtorch {libtorch:?}");
        let near = own.0 <= 2.0 * libtorch.0 && own.1 <= 2.0 * libtorch.1;
        assert!(near, "{mean}, {layer_kind:?}: fused {own:?}, libtorch {libtorch:?}");
    }
}

fn check_net(config: &DenseNetConfig, size: [i64; 4], tolerance: f64) {
    let mut vs = VarStore::new(Device::Cpu);
    densenet::tch::manual_seed(2);
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
fn fused_net_equals_composed_one_in_f64() {
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
fn what_is_kept_of_a_forward_pass_changes_no_bit() {
    // libtorch's generator, which decides what is dropped, is the whole process's.
    if !crate::alone::alone("fused::what_is_kept_of_a_forward_pass_changes_no_bit") {
        return;
    }
    let net = DenseNetConfig::cifar_bc(22, 6).expect("a depth").with_dropout(Dropout::new(0.2));
    for place in [DropoutPlace::LayerOutput, DropoutPlace::EveryConv] {
        let vs = VarStore::new(Device::Cpu);
        let dropout = Dropout::new(0.2).with_place(place);
        let net = net.clone().with_dropout(dropout).build(&vs.root()).expect("a valid net");
        disturb(&vs);
        let x = numbers(&[5, 3, 20, 16], 1).to_kind(Kind::Float);
        for mode in [Mode::Train, Mode::TrainFrozenNorms] {
            let [kept, again] = [Memory::Keep, Memory::Recompute].map(|memory| {
                densenet::tch::manual_seed(7);
                let forward = |x: &Tensor, ctx: &ForwardContext| {
                    net.forward(x, &ctx.with_memory(memory)).expect("images that fit")
                };
                pass(&vs, &x, Execution::Fused, mode, forward)
            });
            for ((name, kept), (_, again)) in kept.iter().zip(&again) {
                assert!(kept.equal(again), "{place:?}, {mode:?}: {name}");
            }
        }
    }
}

#[test]
fn gradients_of_a_fused_block_are_slopes() {
    LAYER_KINDS.into_iter().for_each(check_slopes);
}

fn check_slopes(layer_kind: LayerKind) {
    let mut vs = VarStore::new(Device::Cpu);
    densenet::tch::manual_seed(3);
    let block = DenseBlockConfig::new(2, 2)
        .with_growth_rate(3)
        .with_layer_kind(layer_kind)
        .build(&vs.root())
        .expect("a valid block");
    vs.double();
    let x = (Tensor::arange(2 * 2 * 3 * 4, (Kind::Double, Device::Cpu)) * 1.7).sin().view([2, 2, 3, 4]);
    let x = x.set_requires_grad(true);
    let ctx = ForwardContext::new(Mode::Train).with_execution(Execution::Fused);
    let value = || {
        let y = block.forward(Features::new(x.shallow_clone()), &ctx).data;
        let projection = (Tensor::arange(y.numel() as i64, (Kind::Double, Device::Cpu)) * 0.7).cos().view_as(&y);
        (y * projection).sum(Kind::Double)
    };
    value().backward();
    let variables = named_variables(&vs).into_iter().filter(|variable| variable.trainable);
    let inputs =
        variables.map(|variable| (variable.name, variable.tensor)).chain([("input".to_owned(), x.shallow_clone())]);
    for (name, tensor) in inputs {
        let gradient = tensor.grad().contiguous().view(-1);
        let detached = tensor.detach();
        for index in 0..tensor.numel() as i64 {
            let place: Vec<i64> = unravel(index, &tensor.size());
            let mut entry = place.iter().fold(detached.shallow_clone(), |t, &i| t.get(i));
            let middle = entry.double_value(&[]);
            // Small enough for the curvature, large enough for the rounding of f64.
            let step = 1e-5;
            let mut at = |value_at: f64| {
                let _ = no_grad(|| entry.fill_(value_at));
                no_grad(value).double_value(&[])
            };
            let slope = (at(middle + step) - at(middle - step)) / (2.0 * step);
            at(middle);
            let own = gradient.double_value(&[index]);
            assert!((own - slope).abs() <= 1e-6 * (1.0 + slope.abs()), "{name}[{index}]: {own}, slope {slope}");
        }
    }
}

/// The place in a tensor of this size that the `index`-th value has.
fn unravel(index: i64, size: &[i64]) -> Vec<i64> {
    let mut rest = index;
    let mut place: Vec<i64> = size
        .iter()
        .rev()
        .map(|&length| {
            let here = rest % length;
            rest /= length;
            here
        })
        .collect();
    place.reverse();
    place
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
    let net = DenseNetConfig::fashion_mnist().build(&vs.root()).expect("a valid net");
    fill_kernels(&vs, 100 * seed);
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
fn fifty_fused_steps_stay_as_close_to_f64_as_composed_ones() {
    let seeds = 0..5;
    let mut ratio = 1.0;
    for seed in seeds.clone() {
        let exact = after_fifty_steps(seed, Kind::Double, Execution::Reference);
        let error = |execution| (after_fifty_steps(seed, Kind::Float, execution) - &exact).norm().double_value(&[]);
        ratio *= error(Execution::Fused) / error(Execution::Reference);
    }
    // Training amplifies rounding by chance, the more the higher the rate, so the ratio is a geometric mean over seeds.
    let ratio = f64::powf(ratio, 1.0 / seeds.count() as f64);
    println!("fused steps deviate from f64 {ratio:.2} times as much as composed ones");
    assert!(ratio <= 2.0, "{ratio}");
}
