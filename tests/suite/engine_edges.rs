//! Inputs and settings at the edge of what the fused engine supports: it gives what the reference gives, or an error.

use crate::passes::{assert_equal, assert_same, deviations};
use crate::small_run::{built, net};
use densenet::error::InputError;
use densenet::models::Model;
use densenet::nn::{Execution, Features, ForwardContext, Mode, NormReluConfig, Precision, StemConfig};
use densenet::optim::SgdConfig;
use densenet::tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::{AdamWConfig, DenseBlockConfig, Error, TransitionBlockConfig};

const EXECUTIONS: [Execution; 2] = [Execution::Fused, Execution::Reference];

/// Numbers in (−1, 1) by a formula.
fn numbers(size: &[i64], kind: Kind) -> Tensor {
    let count = size.iter().product::<i64>();
    let noise = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7 + count as f64 * 0.37).sin() * 43758.5453;
    noise.fmod(1.0).view(size).to_kind(kind)
}

/// Output, gradient of the input and, by name, gradients and running statistics after one pass, in f64.
fn pass(vs: &VarStore, x: &Tensor, run: impl FnOnce(&Tensor) -> Tensor) -> Vec<(String, Tensor)> {
    let x = x.copy().set_requires_grad(true);
    let y = run(&x);
    (&y * numbers(&y.size(), y.kind())).sum(Kind::Float).backward();
    let mut all = vec![("output".to_owned(), y.detach()), ("input".to_owned(), x.grad())];
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, mut tensor) in variables {
        let is_trained = tensor.requires_grad();
        all.push((name, if is_trained { tensor.grad().copy() } else { tensor.detach().copy() }));
        if is_trained {
            tensor.zero_grad();
        }
    }
    all.into_iter().map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect()
}

/// Gives all convolutions weights that follow from a formula, so that several executions have the same.
fn fill_convolutions(vs: &VarStore) {
    no_grad(|| {
        for (_, mut tensor) in vs.variables().into_iter().filter(|(name, _)| name.contains("conv")) {
            let size = tensor.size();
            let scale = (6.0 / (size[1..].iter().product::<i64>() as f64)).sqrt();
            tensor.copy_(&(numbers(&size, Kind::Float) * scale));
        }
    });
}

#[test]
fn an_empty_batch_gives_empty_outputs_and_gradients_of_zero() {
    for mode in [Mode::Eval, Mode::TrainFrozenNorms] {
        let passes = EXECUTIONS.map(|execution| {
            let ctx = ForwardContext::new(mode).with_execution(execution);
            let vs = VarStore::new(Device::Cpu);
            let block = DenseBlockConfig::new(3, 2).with_growth_rate(4).build(&(vs.root() / "block")).unwrap();
            let transition = TransitionBlockConfig::new(11, 5).build(&(vs.root() / "transition")).unwrap();
            let of_block = pass(&vs, &numbers(&[0, 3, 8, 8], Kind::Float), |x| {
                let features = block.forward(Features::new(x.shallow_clone()), &ctx).unwrap();
                assert_eq!(features.data.size(), [0, 11, 8, 8]);
                transition.forward(&features, &ctx).unwrap().data
            });
            let (vs, net) = built(&net().with_input_channels(3).with_stem(StemConfig::imagenet()));
            let of_net = pass(&vs, &numbers(&[0, 3, 64, 64], Kind::Float), |x| net.forward(x, &ctx).unwrap());
            assert_eq!(of_net[0].1.size(), [0, 4]);
            [of_block, of_net].into_iter().flatten().collect::<Vec<_>>()
        });
        assert_same(&passes[0], &passes[1], &format!("{mode:?}"));
    }
}

#[test]
fn an_empty_batch_in_training_and_images_without_pixels_are_errors() {
    for execution in EXECUTIONS {
        let vs = VarStore::new(Device::Cpu);
        let block = DenseBlockConfig::new(3, 1).build(&(vs.root() / "block")).unwrap();
        let transition = TransitionBlockConfig::new(3, 5).build(&(vs.root() / "transition")).unwrap();
        for (size, mode) in [
            ([0, 3, 8, 8], Mode::Train),
            ([2, 3, 0, 8], Mode::Train),
            ([2, 3, 0, 8], Mode::Eval),
            ([2, 3, 8, 0], Mode::TrainFrozenNorms),
            ([0, 3, 0, 0], Mode::Eval),
        ] {
            let ctx = ForwardContext::new(mode).with_execution(execution);
            let x = || Features::new(numbers(&size, Kind::Float));
            for result in [block.forward(x(), &ctx), transition.forward(&x(), &ctx)] {
                let error = result.unwrap_err();
                let is_named = matches!(
                    error,
                    Error::Input(InputError::OneValuePerChannel { .. } | InputError::InputTooSmall { .. })
                );
                assert!(is_named, "{size:?}, {mode:?}, {execution:?}: {error}");
            }
        }
    }
}

#[test]
fn a_reader_with_another_epsilon_computes_its_own_statistics() {
    let norm = |epsilon| NormReluConfig::default().with_epsilon(epsilon);
    let passes = EXECUTIONS.map(|execution| {
        let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
        let mut vs = VarStore::new(Device::Cpu);
        let block = |inputs, epsilon| DenseBlockConfig::new(inputs, 2).with_growth_rate(4).with_norm(norm(epsilon));
        let first = block(3, 1e-5).build(&(vs.root() / "first")).unwrap();
        let second = block(11, 0.1).build(&(vs.root() / "second")).unwrap();
        let transition = TransitionBlockConfig::new(19, 7).with_norm(norm(1.0));
        let pooled = transition.clone().build(&(vs.root() / "pooled")).unwrap();
        let blurred = transition.with_blur().build(&(vs.root() / "blurred")).unwrap();
        fill_convolutions(&vs);
        vs.double();
        pass(&vs, &(numbers(&[3, 3, 6, 8], Kind::Double) * 0.3), |x| {
            let features = first.forward(Features::new(x.shallow_clone()), &ctx).unwrap();
            let features = second.forward(features, &ctx).unwrap();
            let [pooled, blurred] = [&pooled, &blurred].map(|part| part.forward(&features, &ctx).unwrap().data);
            Tensor::cat(&[pooled.flatten(1, -1), blurred.flatten(1, -1)], 1)
        })
    });
    // Sums in another order, in f64.
    assert_equal(&passes[0], &passes[1], 1e-9, "fused");
}

/// One training pass of bf16 numbers through blocks and transitions whose variables have the dtype `variables`, where
/// `kind` is the dtype of the computation.
fn bf16_pass(execution: Execution, variables: Kind, kind: Kind) -> Vec<(String, Tensor)> {
    let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
    let mut vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(8, 2).with_growth_rate(4).build(&(vs.root() / "block")).unwrap();
    let transition = TransitionBlockConfig::new(16, 5).build(&(vs.root() / "transition")).unwrap();
    let alone = TransitionBlockConfig::new(8, 5).build(&(vs.root() / "alone")).unwrap();
    fill_convolutions(&vs);
    vs.set_kind(variables);
    if kind == Kind::Double {
        vs.double();
    }
    pass(&vs, &numbers(&[6, 8, 12, 10], Kind::BFloat16).to_kind(kind), |x| {
        let run = || {
            let features = block.forward(Features::new(x.shallow_clone()), &ctx).unwrap();
            let pooled = transition.forward(&features, &ctx).unwrap().data;
            let alone = alone.forward(&Features::new(x.shallow_clone()), &ctx).unwrap().data;
            assert_eq!([features.data.kind(), pooled.kind(), alone.kind()], [kind; 3]);
            pooled + alone
        };
        let emulated = ctx.with_precision(Precision::EmulatedBFloat16);
        let is_mixed = variables == Kind::Float && kind == Kind::BFloat16;
        if is_mixed { emulated.in_precision(Device::Cpu, run).unwrap() } else { run() }
    })
}

#[test]
fn bf16_features_and_variables_train_in_every_part() {
    for variables in [Kind::Float, Kind::BFloat16] {
        let exact = bf16_pass(Execution::Reference, variables, Kind::Double);
        let [fused, reference] =
            EXECUTIONS.map(|execution| deviations(&bf16_pass(execution, variables, Kind::BFloat16), &exact));
        println!("{variables:?}: fused {fused:?}, reference {reference:?}");
        assert!(fused.0 > 1e-4, "more exact than bf16 can be: {fused:?}");
        // As many roundings or fewer, by chance in other directions.
        assert!(fused.0 <= 1.5 * reference.0 && fused.1 <= 1.5 * reference.1, "{fused:?}, reference {reference:?}");
    }
}

#[test]
fn features_of_a_network_have_the_same_dtype_in_every_execution_and_mode() {
    let (_vs, net) = built(&net());
    for mode in [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval] {
        let kinds = EXECUTIONS.map(|execution| {
            let precision = Precision::EmulatedBFloat16;
            let ctx = ForwardContext::new(mode).with_execution(execution).with_precision(precision);
            let maps = net.feature_maps(&numbers(&[2, 1, 16, 16], Kind::Float), &ctx).unwrap();
            maps.iter().map(Tensor::kind).collect::<Vec<_>>()
        });
        assert_eq!(kinds[0], [Kind::BFloat16; 2], "{mode:?}");
        assert_eq!(kinds[1], [Kind::BFloat16; 2], "{mode:?}");
    }
}

#[test]
fn a_step_between_forward_and_backward_is_refused() {
    for optimizer in [
        &(|vs: &VarStore| SgdConfig::new(0.1).build(vs)) as &dyn Fn(&VarStore) -> _,
        &|vs: &VarStore| SgdConfig::new(0.1).with_momentum(0.9).build(vs),
        &|vs: &VarStore| AdamWConfig::new(0.1).build(vs),
    ] {
        let vs = VarStore::new(Device::Cpu);
        let weight = vs.root().ones("weight", &[3]);
        let mut optimizer = optimizer(&vs).unwrap();
        let loss = || (&weight * &weight * &weight).sum(Kind::Float);
        loss().backward();
        let pending = loss();
        optimizer.step(0.1).unwrap();
        let error = pending.f_backward().unwrap_err().to_string();
        assert!(error.contains("modified by an inplace operation"), "{error}");
        optimizer.zero_grad().unwrap();
        loss().backward();
    }
}
