//! Runs in bf16: how exact they are, and what stays in f32.

use crate::numbers::numbers;
use crate::passes::{Pass, deviations};
use crate::small_run::fit;
use crate::variables::named_variables;
use densenet::data::SyntheticConfig;
use densenet::error::ConfigError;
use densenet::models::{DenseNetConfig, Model, ModuleModel};
use densenet::nn::{Execution, ForwardContext, Mode, Precision};
use densenet::tch::nn::VarStore;
use densenet::tch::{Device, Kind, Reduction, Tensor, nn, no_grad};
use densenet::{Error, SgdConfig, TrainConfig, Trainer};

/// Logits, running statistics and the gradients of all variables after a pass of a net on 8 images of this side, in f64.
fn pass(
    (net, side): (&DenseNetConfig, i64),
    seed: i64,
    kind: Kind,
    execution: Execution,
    precision: Precision,
    mode: Mode,
) -> Pass {
    let mut vs = VarStore::new(Device::Cpu);
    let channels = net.input_channels as i64;
    let net = net.build(&vs.root()).expect("a valid net");
    for (salt, mut variable) in (0..).zip(named_variables(&vs)) {
        let size = variable.tensor.size();
        if let [_, of_each @ ..] = &size[..]
            && !of_each.is_empty()
        {
            let scale = (6.0 / of_each.iter().product::<i64>() as f64).sqrt();
            no_grad(|| variable.tensor.copy_(&(numbers(&size, 100 * seed + salt) * scale)));
        }
    }
    vs.set_kind(kind);
    let x = numbers(&[8, channels, side, side], seed).abs().to_kind(kind);
    let y = Tensor::arange(8, (Kind::Int64, Device::Cpu)).remainder(10);
    let ctx = ForwardContext::new(mode).with_execution(execution).with_precision(precision);
    let logits = net.forward(&x, &ctx).expect("images that fit");
    assert_eq!(logits.kind(), kind, "logits are of the variables' kind");
    logits.cross_entropy_loss::<Tensor>(&y, None, Reduction::Mean, -100, 0.0).backward();
    let mut all = vec![("logits".to_owned(), logits.detach())];
    for variable in named_variables(&vs) {
        assert_eq!(variable.tensor.kind(), kind, "{}", variable.name);
        let value = if variable.trainable { variable.tensor.grad() } else { variable.tensor };
        assert_eq!(value.kind(), kind, "{}", variable.name);
        all.push((variable.name, value));
    }
    all.into_iter().map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect()
}

/// Reference execution is what PyTorch's autocast runs: the same operations of libtorch, with the same choice of kinds.
fn check_net_in_bf16(net: &DenseNetConfig, side: i64) {
    for mode in [Mode::Train, Mode::Eval] {
        let seeds = 0..10;
        let (mut median, mut maximum) = (1.0, 1.0);
        for seed in seeds.clone() {
            let net = (net, side);
            let exact = pass(net, seed, Kind::Double, Execution::Reference, Precision::Float32, mode);
            let in_bf16 = |execution| {
                deviations(&pass(net, seed, Kind::Float, execution, Precision::EmulatedBFloat16, mode), &exact)
            };
            let (own, autocast) = (in_bf16(Execution::Fused), in_bf16(Execution::Reference));
            println!("{mode:?}: fused {own:?}, autocast {autocast:?}");
            assert!(own.0 > 1e-4, "{own:?} is more exact than bf16 can be");
            median *= own.0 / autocast.0;
            maximum *= own.1 / autocast.1;
        }
        let [median, maximum] = [median, maximum].map(|ratio: f64| ratio.powf(1.0 / seeds.clone().count() as f64));
        println!("{mode:?}: {median:.2} and {maximum:.2} of autocast's deviation");
        // A whole net amplifies roundings by chance: over ten nets the mean ratio of two that are as exact scatters by a tenth.
        assert!(median <= 1.2 && maximum <= 1.2, "{mode:?}: {median}, {maximum}");
    }
}

#[test]
fn fused_bf16_is_as_exact_as_autocast() {
    check_net_in_bf16(&DenseNetConfig::fashion_mnist(), 96);
}

#[test]
fn fused_bf16_of_bottleneck_layers_is_as_exact_as_autocast() {
    check_net_in_bf16(&DenseNetConfig::cifar_bc(40, 12).expect("a depth of the paper's"), 32);
}

#[test]
fn one_pixel_that_is_no_number_reaches_the_loss_in_bf16() {
    let vs = VarStore::new(Device::Cpu);
    let net = DenseNetConfig::fashion_mnist().build(&vs.root()).expect("a valid net");
    for execution in [Execution::Fused, Execution::Reference] {
        let x = Tensor::rand([2, 1, 48, 48], (Kind::Float, Device::Cpu));
        let _ = x.get(1).get(0).get(20).get(30).fill_(f64::NAN);
        let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
        let logits = net.forward(&x, &ctx.with_precision(Precision::EmulatedBFloat16)).expect("images that fit");
        assert!(logits.sum(Kind::Float).double_value(&[]).is_nan(), "{execution:?}");
    }
}

#[test]
fn bf16_is_an_error_where_the_cpu_has_no_instructions_for_it() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").expect("Linux tells of its CPU");
    let has_bf16 = flags.contains("avx512_bf16");
    let outcome = Precision::BFloat16.check(Device::Cpu);
    assert_eq!(outcome.is_ok(), has_bf16);
    assert!(matches!(outcome, Ok(()) | Err(Error::Config(ConfigError::PrecisionUnavailable { .. }))));
    Precision::EmulatedBFloat16.check(Device::Cpu).expect("emulation is always available");
}

#[test]
fn a_run_in_bf16_learns_and_keeps_its_variables_in_f32() {
    let samples = SyntheticConfig::new(96).with_sample_shape([1, 16, 16]).with_classes(3);
    let (train, test) = (samples.clone().build().unwrap(), samples.with_seed(1).build().unwrap());
    let vs = VarStore::new(Device::Cpu);
    let model = DenseNetConfig::fashion_mnist()
        .with_layers_per_block([2])
        .with_growth_rate(8)
        .with_stem(densenet::nn::StemConfig::cifar())
        .build(&vs.root())
        .expect("a valid net");
    let optimizer = SgdConfig::new(0.1).build(&vs).expect("a valid rate");
    let config = TrainConfig::new(3).with_batch_size(16).with_precision(Precision::EmulatedBFloat16);
    let mut trainer = Trainer::new(vs, model, optimizer, config).expect("a valid configuration");
    let history = fit(&mut trainer, &train, &test).expect("a run without an error");
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.train.loss()).collect();
    assert!(losses[2] < losses[0], "{losses:?}");
    assert!(named_variables(trainer.var_store()).iter().all(|variable| variable.tensor.kind() == Kind::Float));
}

#[test]
fn a_module_of_tchs_follows_the_precision() {
    let vs = VarStore::new(Device::Cpu);
    let model = ModuleModel(nn::seq_t().add(nn::linear(vs.root(), 64, 3, Default::default())));
    let x = numbers(&[8, 64], 3).to_kind(Kind::Float);
    let outputs = |precision| {
        let ctx = ForwardContext::new(Mode::Eval).with_precision(precision);
        model.forward(&x, &ctx).expect("a valid input")
    };
    let (exact, rounded) = (outputs(Precision::Float32), outputs(Precision::EmulatedBFloat16));
    assert_eq!(rounded.kind(), Kind::Float);
    let deviation = (&rounded - &exact).abs().max().double_value(&[]);
    assert!(deviation > 0.0 && deviation < 0.05, "{deviation}");
}
