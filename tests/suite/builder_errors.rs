//! Configurations that make no sense: a typed error that names the field and its value, and nothing built.

use densenet::error::{ConfigError, InputError};
use densenet::models::DenseNetConfig;
use densenet::nn::{Dropout, Execution, Features, ForwardContext, Mode, NormReluConfig, StemConfig};
use densenet::optim::Schedule;
use densenet::tch::{Device, Kind, Tensor, nn, nn::VarStore};
use densenet::{AdamWConfig, DenseBlockConfig, Error, Result, SgdConfig, TrainConfig, Trainer, TransitionBlockConfig};
use std::fmt::Debug;

/// Checks that it is this field's error and that the message says its name and value.
fn assert_invalid<T: Debug>(result: Result<T>, field: &str, value: &str) {
    match result {
        Err(error @ Error::Config(ConfigError::InvalidValue { .. })) => {
            let text = error.to_string();
            let Error::Config(ConfigError::InvalidValue { field: named, value: given, .. }) = error else {
                unreachable!()
            };
            assert_eq!((named, given.as_str()), (field, value));
            assert!(text.starts_with(&format!("{field} is {value}, but has to be ")), "{text}");
        }
        other => panic!("{field} {value}: {other:?}"),
    }
}

fn assert_overflow<T: Debug>(result: Result<T>) {
    match result {
        Err(Error::Config(ConfigError::Overflow { .. })) => {}
        other => panic!("{other:?}"),
    }
}

/// Checks that building and the summary agree, and that neither leaves a variable behind.
fn build(config: &DenseNetConfig) -> Result<()> {
    let vs = VarStore::new(Device::Cpu);
    let error = config.build(&vs.root()).map(|_| ());
    assert_eq!(vs.len(), 0, "{config:?} built something");
    let summary = config.summary([config.input_channels, 224, 224]).map(|_| ());
    assert_eq!(format!("{summary:?}"), format!("{error:?}"));
    error
}

#[test]
fn networks_without_a_part_are_errors_that_name_it() {
    let net = || DenseNetConfig::new(10);
    for (config, field) in [
        (DenseNetConfig::new(0), "classes"),
        (net().with_input_channels(0), "input channels"),
        (net().with_initial_channels(0), "initial channels"),
        (net().with_growth_rate(0), "growth rate"),
        (net().with_layers_per_block([]), "number of dense blocks"),
        (net().with_layers_per_block([2, 0, 2]), "layers of a dense block"),
        (net().with_bottleneck(0), "bottleneck factor"),
        (net().with_stem(StemConfig::cifar().with_kernel(0)), "kernel of the stem"),
        (net().with_stem(StemConfig::cifar().with_stride(0)), "stride of the stem"),
    ] {
        assert_invalid(build(&config), field, "0");
    }
}

#[test]
fn shares_out_of_range_are_errors_that_name_the_share() {
    let net = || DenseNetConfig::new(10);
    for (value, word) in [(0.0, "0"), (-0.5, "-0.5"), (1.000001, "1.000001"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        assert_invalid(build(&net().with_compression(value)), "compression", word);
    }
    // 256 channels come out of the first block of the default network.
    assert_invalid(build(&net().with_compression(0.0039)), "compression", "0.0039");
    for (value, word) in [(1.0, "1"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_invalid(build(&net().with_dropout(Dropout::new(value))), "drop rate", word);
    }
    let norm = NormReluConfig::default();
    for (value, word) in [(0.0, "0"), (-1e-5, "-0.00001"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_invalid(build(&net().with_norm(norm.with_epsilon(value))), "epsilon", word);
    }
    for (value, word) in [(-0.1, "-0.1"), (1.1, "1.1"), (f64::NAN, "NaN")] {
        assert_invalid(build(&net().with_norm(norm.with_momentum(value))), "momentum of the running statistics", word);
    }
}

#[test]
fn limits_of_the_shares_are_allowed() {
    let net = || DenseNetConfig::new(10).with_initial_channels(4).with_growth_rate(4).with_layers_per_block([1, 1]);
    for config in [
        net().with_compression(1.0),
        net().with_compression(0.125),
        net().with_dropout(Dropout::new(0.0)),
        net().with_norm(NormReluConfig::default().with_momentum(0.0)),
        net().with_norm(NormReluConfig::default().with_momentum(1.0)),
        net().with_bottleneck(1),
        net().with_stem(StemConfig::cifar().with_kernel(1).with_padding(0)),
    ] {
        let vs = VarStore::new(Device::Cpu);
        config.build(&vs.root()).unwrap();
    }
}

#[test]
fn stems_whose_padding_reaches_the_kernel_are_errors() {
    for (stem, value) in [
        (StemConfig::cifar().with_padding(3), "kernel 3, stride 1, padding 3"),
        (StemConfig::imagenet().with_padding(usize::MAX), "kernel 7, stride 2, padding 18446744073709551615"),
        (StemConfig::imagenet().with_kernel(1025), "kernel 1025, stride 2, padding 3"),
        (StemConfig::imagenet().with_stride(1025), "kernel 7, stride 1025, padding 3"),
    ] {
        assert_invalid(build(&DenseNetConfig::new(10).with_stem(stem)), "stem", value);
    }
}

#[test]
fn numbers_that_overflow_are_errors() {
    let net = || DenseNetConfig::new(10);
    for config in [
        DenseNetConfig::new(usize::MAX),
        net().with_input_channels(usize::MAX),
        net().with_initial_channels(1 << 60),
        net().with_growth_rate(usize::MAX),
        net().with_layers_per_block([usize::MAX]),
        net().with_layers_per_block([1, 1 << 60]),
        net().with_bottleneck(usize::MAX),
        net().with_bottleneck(1 << 22),
    ] {
        assert_overflow(build(&config));
    }
    // Summaries of networks that fit into no memory: too many weights, too many pixels.
    let wide = net().with_input_channels((1 << 24) - 1).with_initial_channels((1 << 24) - 1);
    let wide = wide.with_growth_rate(1).with_layers_per_block([1]);
    assert_overflow(wide.with_stem(StemConfig::cifar().with_kernel(1024)).summary([(1 << 24) - 1, 2000, 2000]));
    for side in [1 << 24, usize::MAX] {
        assert_overflow(net().summary([3, side, side]));
    }
    let vs = VarStore::new(Device::Cpu);
    assert_overflow(DenseBlockConfig::new(usize::MAX, 1).build(&vs.root()));
    assert_overflow(DenseBlockConfig::new(3, 2).with_growth_rate(usize::MAX).out_channels());
    assert_overflow(TransitionBlockConfig::new(usize::MAX, 1).build(&vs.root()));
    assert_overflow(TransitionBlockConfig::new(1, 1 << 40).build(&vs.root()));
    assert_eq!(vs.len(), 0);
}

#[test]
fn blocks_and_transitions_alone_check_as_the_network_does() {
    let vs = VarStore::new(Device::Cpu);
    let block = || DenseBlockConfig::new(3, 2);
    let transition = || TransitionBlockConfig::new(4, 2);
    assert_invalid(DenseBlockConfig::new(0, 2).build(&vs.root()), "input channels", "0");
    assert_invalid(DenseBlockConfig::new(3, 0).build(&vs.root()), "layers of a dense block", "0");
    assert_invalid(block().with_growth_rate(0).build(&vs.root()), "growth rate", "0");
    assert_invalid(block().with_dropout(Dropout::new(f64::NAN)).build(&vs.root()), "drop rate", "NaN");
    assert_invalid(TransitionBlockConfig::new(0, 2).build(&vs.root()), "input channels of a transition", "0");
    assert_invalid(TransitionBlockConfig::new(4, 0).build(&vs.root()), "output channels of a transition", "0");
    assert_invalid(transition().with_dropout(Dropout::new(2.0)).build(&vs.root()), "drop rate", "2");
    let norm = NormReluConfig::default().with_epsilon(-1.0);
    assert_invalid(transition().with_norm(norm).build(&vs.root()), "epsilon", "-1");
    assert_eq!(vs.len(), 0);
}

#[test]
fn building_a_network_twice_at_one_path_is_an_error_that_names_the_variable() {
    let vs = VarStore::new(Device::Cpu);
    let config = DenseNetConfig::new(2).with_initial_channels(4).with_growth_rate(4).with_layers_per_block([1]);
    config.build(&(vs.root() / "net")).unwrap();
    let variables = vs.len();
    match config.build(&(vs.root() / "net")) {
        Err(Error::Config(ConfigError::VariableExists { name })) => assert_eq!(name, "net.features.conv0.weight"),
        other => panic!("{other:?}"),
    }
    assert_eq!(vs.len(), variables);
    config.build(&(vs.root() / "other")).unwrap();
}

#[test]
fn optimizers_with_senseless_constants_are_errors() {
    let vs = VarStore::new(Device::Cpu);
    let _layer = nn::linear(vs.root(), 3, 2, Default::default());
    for (value, word) in [(0.0, "0"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_invalid(SgdConfig::new(value).build(&vs), "learning rate", word);
        assert_invalid(AdamWConfig::new(value).build(&vs), "learning rate", word);
    }
    let (sgd, adamw) = (|| SgdConfig::new(0.1), || AdamWConfig::new(0.1));
    assert_invalid(sgd().with_momentum(1.0).build(&vs), "momentum", "1");
    assert_invalid(sgd().with_nesterov_momentum(0.0).build(&vs), "momentum", "0");
    assert_invalid(sgd().with_weight_decay(-1.0).build(&vs), "weight decay", "-1");
    assert_invalid(adamw().with_beta1(1.0).build(&vs), "beta1", "1");
    assert_invalid(adamw().with_beta2(f64::NAN).build(&vs), "beta2", "NaN");
    assert_invalid(adamw().with_epsilon(0.0).build(&vs), "epsilon of AdamW", "0");
    assert_invalid(adamw().with_weight_decay(f64::INFINITY).build(&vs), "weight decay", "inf");

    let nothing = VarStore::new(Device::Cpu);
    assert!(matches!(sgd().build(&nothing), Err(Error::Config(ConfigError::NothingToTrain))));
    assert!(matches!(adamw().build(&nothing), Err(Error::Config(ConfigError::NothingToTrain))));
}

#[test]
fn training_configurations_are_checked_before_there_are_data() {
    let trainer = |config: TrainConfig| {
        let vs = VarStore::new(Device::Cpu);
        let model = DenseNetConfig::new(2).with_initial_channels(4).with_layers_per_block([1]).build(&vs.root())?;
        let optimizer = SgdConfig::new(0.1).build(&vs)?;
        Trainer::new(vs, model, optimizer, config).map(|_| ())
    };
    let config = || TrainConfig::new(1);
    assert_invalid(trainer(TrainConfig::new(0)), "epochs", "0");
    assert_invalid(trainer(TrainConfig::new(1_000_001)), "epochs", "1000001");
    assert_invalid(trainer(config().with_batch_size(0)), "batch size", "0");
    assert_invalid(trainer(config().with_batch_size(65_537)), "batch size", "65537");
    assert_invalid(trainer(config().with_workers(257)), "number of workers", "257");
    let steps = |shares: &[f64], gamma| {
        trainer(config().with_schedule(Schedule::Shares { milestones: shares.to_vec(), gamma }))
    };
    for (gamma, text) in [(0.0, "0"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (10.0, "10")] {
        assert_invalid(steps(&[0.5], gamma), "gamma of the schedule", text);
    }
    assert_invalid(steps(&[0.5, f64::NAN], 0.1), "milestones of the schedule", "[0.5, NaN]");
    assert_invalid(steps(&[1.5], 0.1), "milestones of the schedule", "[1.5]");
    steps(&[0.0, 1.0], 1.0).unwrap();
}

#[test]
fn features_that_do_not_fit_a_block_or_transition_are_errors() {
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(4, 2).with_growth_rate(2).build(&(vs.root() / "block")).unwrap();
    let transition = TransitionBlockConfig::new(4, 2);
    let pooling = transition.build(&(vs.root() / "pooling")).unwrap();
    let blurring = transition.with_blur().build(&(vs.root() / "blurring")).unwrap();
    for execution in [Execution::Fused, Execution::Reference] {
        let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
        let error_of = |size: &[i64]| {
            let features = || Features::new(Tensor::zeros(size, (Kind::Float, Device::Cpu)));
            let transitions = [&pooling, &blurring].map(|transition| transition.forward(&features(), &ctx));
            (block.forward(features(), &ctx).err(), transitions.map(|result| result.err()))
        };
        for size in [&[2, 3, 4, 4][..], &[2, 4, 4], &[2, 4, 4, 4, 1], &[]] {
            let (of_block, of_transitions) = error_of(size);
            for error in of_transitions.into_iter().chain([of_block]) {
                match error {
                    Some(Error::Input(InputError::InputShape { actual, expected })) => {
                        assert_eq!((&actual[..], expected.as_str()), (size, "[N, 4, H, W]"));
                    }
                    other => panic!("{execution:?}, {size:?}: {other:?}"),
                }
            }
        }
        let (of_block, of_transitions) = error_of(&[1, 4, 1, 1]);
        for (error, norm) in of_transitions.into_iter().zip(["pooling.norm", "blurring.norm"]) {
            assert!(
                matches!(&error, Some(Error::Input(InputError::OneValuePerChannel { layer, .. })) if layer == norm),
                "{error:?}"
            );
        }
        let norm = "block.denselayer1.norm1";
        assert!(
            matches!(&of_block, Some(Error::Input(InputError::OneValuePerChannel { layer, .. })) if layer == norm),
            "{of_block:?}"
        );
        let (of_block, of_transitions) = error_of(&[2, 4, 1, 3]);
        assert!(of_block.is_none());
        for error in of_transitions {
            assert!(
                matches!(error, Some(Error::Input(InputError::InputTooSmall { height: 1, width: 3, smallest: 2, .. }))),
                "{error:?}"
            );
        }
    }
}
