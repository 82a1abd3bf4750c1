//! Counts and shapes: what a summary says, what is published, and what the built network really
//! holds.

use crate::alone::alone;
use crate::process::{only, passes};
use crate::small_run::built;
use crate::variables::{bits, named_variables};
use densenet::error::{ConfigError, InputError};
use densenet::models::Summary;
use densenet::nn::{ForwardContext, Mode, StemConfig};
use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
use densenet::{DenseBlockConfig, DenseNetConfig, Error, Model, TransitionBlockConfig};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

fn output<'a>(summary: &'a Summary, name: &str) -> &'a [usize; 3] {
    &summary.rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("a row {name}")).output
}

#[test]
fn family_has_the_published_parameters_and_buffers() {
    let nets = [
        (DenseNetConfig::densenet121(1000), 7_978_856, 83_648, 1024),
        (DenseNetConfig::densenet161(1000), 28_681_000, 219_936, 2208),
        (DenseNetConfig::densenet169(1000), 14_149_480, 158_400, 1664),
        (DenseNetConfig::densenet201(1000), 20_013_928, 229_056, 1920),
        (DenseNetConfig::densenet264(1000), 33_337_704, 398_528, 2688),
        (DenseNetConfig::new(10).with_input_channels(1), 6_957_834, 83_648, 1024),
    ];
    for (config, parameters, buffers, channels) in nets {
        let summary = config.summary([config.input_channels, 224, 224]).unwrap();
        assert_eq!((summary.parameters(), summary.buffers()), (parameters, buffers), "{config:?}");
        assert_eq!(config.out_channels().unwrap(), channels);
        assert_eq!(*output(&summary, "features.norm5"), [channels, 7, 7]);
    }
}

#[test]
fn cifar_networks_have_the_published_parameters() {
    let (cifar, cifar_bc) = (DenseNetConfig::cifar, DenseNetConfig::cifar_bc);
    let nets = [
        (cifar(40, 12).unwrap(), 1_019_722),
        (cifar(100, 12).unwrap(), 6_979_642),
        (cifar(100, 24).unwrap(), 27_249_082),
        (cifar_bc(40, 12).unwrap(), 176_122),
        (cifar_bc(100, 12).unwrap(), 769_162),
        (cifar_bc(250, 24).unwrap(), 15_324_406),
        (cifar_bc(190, 40).unwrap(), 25_624_430),
        (cifar_bc(40, 36).unwrap(), 1_542_682),
        (cifar_bc(40, 48).unwrap(), 2_733_130),
        (cifar_bc(40, 60).unwrap(), 4_261_690),
    ];
    for (config, parameters) in nets {
        let summary = config.summary([3, 32, 32]).unwrap();
        assert_eq!(summary.parameters(), parameters, "{config:?}");
        assert_eq!(output(&summary, "features.norm5")[1..], [8, 8], "two transitions halve 32 pixels twice");
    }
    let gray = cifar_bc(100, 12).unwrap().with_input_channels(1);
    assert_eq!(gray.summary([1, 28, 28]).unwrap().parameters(), 768_730);
    for error in [cifar(41, 12), cifar(4, 12), cifar(3, 12), cifar_bc(41, 12), cifar_bc(4, 12), cifar_bc(43, 12)] {
        assert!(matches!(&error, Err(Error::Config(ConfigError::InvalidValue { field: "depth", .. }))), "{error:?}");
    }
}

#[test]
fn tutorials_network_has_its_counts_and_sizes() {
    let summary = DenseNetConfig::fashion_mnist().summary([1, 96, 96]).unwrap();
    assert_eq!((summary.parameters(), summary.buffers()), (758_226, 6_608));
    let count = |word: &str| summary.rows.iter().filter(|row| row.operation.starts_with(word)).count();
    assert_eq!((count("conv"), count("norm")), (20, 21));
    for (name, shape) in [
        ("features.conv0", [64, 46, 46]),
        ("features.pool0", [64, 23, 23]),
        ("features.transition1.norm", [192, 23, 23]),
        ("features.transition1.pool", [96, 11, 11]),
        ("features.transition2.norm", [224, 11, 11]),
        ("features.transition2.pool", [112, 5, 5]),
        ("features.transition3.norm", [240, 5, 5]),
        ("features.transition3.pool", [120, 2, 2]),
        ("features.norm5", [248, 2, 2]),
        ("classifier", [10, 1, 1]),
    ] {
        assert_eq!(*output(&summary, name), shape, "{name}");
    }
}

#[test]
fn books_network_differs_in_the_stems_padding_only() {
    let (tutorial, book) = (DenseNetConfig::fashion_mnist(), DenseNetConfig::d2l());
    assert_eq!(book, tutorial.clone().with_stem(tutorial.stem.with_padding(3)));
    assert_eq!((tutorial.stem.padding, tutorial.clone().with_conv_bias()), (1, tutorial));
    let summary = book.summary([1, 96, 96]).unwrap();
    assert_eq!(summary.parameters(), 758_226);
    let sides = ["features.conv0", "features.pool0", "features.transition2.norm", "features.norm5"];
    assert_eq!(sides.map(|name| output(&summary, name)[1]), [48, 24, 12, 3]);
}

#[test]
fn multiply_adds_are_those_of_the_convolutions_and_the_classifier() {
    // Published in millions with two decimals.
    for (config, hundredths) in [(DenseNetConfig::fashion_mnist(), 11_385), (DenseNetConfig::d2l(), 12_908)] {
        let multiply_adds = config.summary([1, 96, 96]).unwrap().multiply_adds();
        assert_eq!((multiply_adds + 5_000) / 10_000, hundredths, "{multiply_adds}");
    }
}

/// Runs the net from its variables alone, one row of the summary after the other; says what shape
/// each row's output has.
fn interpret(config: &DenseNetConfig, summary: &Summary, vs: &VarStore, x: &Tensor) -> (Vec<Vec<i64>>, Tensor) {
    let variables = vs.variables();
    let variable = |row: &str, name: &str| variables.get(&format!("{row}.{name}"));
    let (mut y, mut features) = (x.shallow_clone(), Tensor::new());
    let mut shapes = Vec::new();
    for (index, row) in summary.rows.iter().enumerate() {
        let (layer, operation) = row.name.rsplit_once('.').unwrap_or(("", &row.name));
        let weight = variable(&row.name, "weight");
        let in_block = layer.contains("denselayer");
        match operation.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "conv" => {
                let weight = weight.unwrap();
                let (stride, padding) = match layer {
                    "features" => (config.stem.stride as i64, config.stem.padding as i64),
                    _ => (1, weight.size()[2] / 2),
                };
                y = y.conv2d(weight, variable(&row.name, "bias"), [stride; 2], [padding; 2], [1, 1], 1);
            }
            "norm" => {
                if in_block && operation == "norm1" {
                    features = y.shallow_clone();
                }
                let [bias, mean, var] = ["bias", "running_mean", "running_var"].map(|name| variable(&row.name, name));
                y = y.batch_norm(weight, bias, mean, var, false, 0.1, 1e-5, false).relu();
            }
            "pool" if operation == "pool0" => y = y.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false),
            "pool" => y = y.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            "global pooling" => y = y.mean_dim([2, 3].as_slice(), true, None),
            "classifier" => y = y.flatten(1, -1).linear(weight.unwrap(), variable(&row.name, "bias")),
            other => panic!("a row {other}"),
        }
        shapes.push(y.size());
        let ends_layer = in_block && !summary.rows[index + 1].name.starts_with(&format!("{layer}."));
        if ends_layer {
            y = Tensor::cat(&[&features, &y], 1);
        }
    }
    (shapes, y)
}

#[test]
fn every_row_of_a_summary_is_what_the_built_network_holds_and_returns() {
    let nets = [
        (DenseNetConfig::fashion_mnist(), 50),
        (DenseNetConfig::d2l(), 37),
        (
            DenseNetConfig::new(1000).with_growth_rate(8).with_initial_channels(16).with_layers_per_block([2, 1, 3, 2]),
            64,
        ),
        (DenseNetConfig::cifar_bc(22, 6).unwrap().with_bottleneck(2).with_compression(0.7), 21),
    ];
    for (config, side) in nets {
        let summary = config.summary([config.input_channels, side, side]).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let model = config.build(&vs.root()).unwrap();

        for row in &summary.rows {
            let prefix = format!("{}.", row.name);
            let own = named_variables(&vs).into_iter().filter(|variable| variable.name.starts_with(&prefix));
            let (trained, buffers): (Vec<_>, Vec<_>) = own.partition(|variable| variable.trainable);
            let [trained, buffers] = [trained, buffers].map(|v| v.iter().map(|v| v.tensor.numel()).sum::<usize>());
            assert_eq!((trained, buffers), (row.parameters, row.buffers), "{}", row.name);
        }
        let total: usize = named_variables(&vs).iter().map(|variable| variable.tensor.numel()).sum();
        assert_eq!(total, summary.parameters() + summary.buffers(), "no variable is without a row");

        let x = Tensor::rand([2, config.input_channels as i64, side as i64, side as i64], (Kind::Float, Device::Cpu));
        let (shapes, logits) = interpret(&config, &summary, &vs, &x);
        for (row, shape) in summary.rows.iter().zip(shapes) {
            let [channels, height, width] = row.output.map(|size| size as i64);
            let expected = if row.name == "classifier" { vec![2, channels] } else { vec![2, channels, height, width] };
            assert_eq!(shape, expected, "{}", row.name);
        }
        let own = model.forward(&x, &ForwardContext::new(Mode::Eval)).unwrap();
        let deviation = (&own - &logits).abs().max().double_value(&[]) / logits.abs().max().double_value(&[]);
        // The same sums in f32, at most in another order.
        assert!(deviation < 1e-5, "{deviation:e}");
    }
}

#[test]
fn a_block_adds_its_layers_channels_and_a_transition_halves_the_sides() {
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(3, 2).with_growth_rate(10).with_plain_layers();
    let transition = TransitionBlockConfig::new(block.out_channels().unwrap(), 10);
    let block = block.build(&(vs.root() / "block")).unwrap();
    let transition = transition.build(&(vs.root() / "transition")).unwrap();
    let x = Tensor::rand([4, 3, 8, 8], (Kind::Float, Device::Cpu));
    for train in [true, false] {
        let y = block.forward_t(&x, train);
        assert_eq!(y.size(), [4, 23, 8, 8]);
        assert!(y.narrow(1, 0, 3).equal(&x), "the block's input comes first");
        assert_eq!(transition.forward_t(&y, train).size(), [4, 10, 4, 4]);
    }
}

#[test]
fn smallest_input_works_and_one_pixel_less_names_the_layer() {
    let nets = [
        (DenseNetConfig::fashion_mnist(), 33, "features.transition3.pool"),
        (DenseNetConfig::d2l(), 29, "features.transition3.pool"),
        (DenseNetConfig::cifar(40, 12).unwrap(), 4, "features.transition2.pool"),
        (
            DenseNetConfig::new(1000).with_layers_per_block([1; 4]).with_stem(StemConfig::imagenet().with_padding(0)),
            35,
            "features.transition3.pool",
        ),
    ];
    for (config, side, last_layer) in nets {
        let channels = config.input_channels;
        assert_eq!(config.summary([channels, 224, 224]).unwrap().smallest_input, side);
        let vs = VarStore::new(Device::Cpu);
        let model = config.build(&vs.root()).unwrap();
        let input =
            |side: usize| Tensor::rand([2, channels as i64, side as i64, side as i64], (Kind::Float, Device::Cpu));
        for mode in [Mode::Train, Mode::Eval] {
            let logits = model.forward(&input(side), &ForwardContext::new(mode)).unwrap();
            assert!(logits.isfinite().all().int64_value(&[]) == 1, "{mode:?} at {side}");

            let less = model.forward(&input(side - 1), &ForwardContext::new(mode)).unwrap_err();
            let Error::Input(InputError::InputTooSmall { height, width, layer, smallest }) = &less else {
                panic!("{less:?}")
            };
            assert_eq!((*height, *width, layer.as_str(), *smallest), (side - 1, side - 1, last_layer, side));
        }
        let less = config.summary([channels, side - 1, side]).unwrap_err().to_string();
        assert!(less.contains(&format!("{}×{side}", side - 1)) && less.contains(last_layer), "{less}");
    }
}

/// All variables of a network in one row.
fn variables(config: &DenseNetConfig) -> Tensor {
    let vs = VarStore::new(Device::Cpu);
    config.build(&vs.root()).unwrap();
    let rows: Vec<_> = named_variables(&vs).iter().map(|v| v.tensor.contiguous().view(-1)).collect();
    Tensor::cat(&rows, 0)
}

#[test]
fn initial_weights_follow_from_the_seed_alone() {
    let config = DenseNetConfig::fashion_mnist();
    let first = variables(&config);
    densenet::tch::manual_seed(17);
    let _ = Tensor::rand([3], (Kind::Float, Device::Cpu));
    assert!(first.equal(&variables(&config)), "whatever libtorch's generator is at");
    assert!(!first.equal(&variables(&config.clone().with_seed(1))), "another seed");
    let xavier = config.with_seed(3);
    let kaiming = xavier.clone().with_initialization(densenet::nn::Initialization::KaimingFanIn);
    for config in [xavier, kaiming] {
        let vs = VarStore::new(Device::Cpu);
        config.build(&vs.root()).unwrap();
        let kernels: Vec<_> = named_variables(&vs).into_iter().filter(|v| v.tensor.dim() == 4).collect();
        for pair in kernels.windows(2) {
            let [a, b] = [&pair[0], &pair[1]].map(|v| v.tensor.contiguous().view(-1));
            let length = a.size()[0].min(b.size()[0]);
            // The correlation of two independent kernels of 500 numbers or more has a standard
            // deviation of 0.045 at most.
            let both = Tensor::stack(&[a.narrow(0, 0, length), b.narrow(0, 0, length)], 0);
            let correlation = both.corrcoef().double_value(&[0, 1]);
            assert!(length < 500 || correlation.abs() < 0.3, "{} and {}: {correlation}", pair[0].name, pair[1].name);
        }
    }
}

#[test]
fn initial_weights_are_the_same_in_every_process() {
    const EXPECTED: &str = "DENSENET_TEST_WEIGHTS";
    let (vs, _model) = built(&DenseNetConfig::fashion_mnist().with_seed(3));
    let mut hasher = DefaultHasher::new();
    bits(&vs).hash(&mut hasher);
    let own = hasher.finish().to_string();
    match std::env::var(EXPECTED) {
        Ok(expected) => assert_eq!(own, expected),
        Err(_) => {
            let [program, arguments @ ..] = only("counts::initial_weights_are_the_same_in_every_process");
            passes(Command::new(program).args(arguments).env(EXPECTED, own));
        }
    }
}

#[test]
fn building_a_network_leaves_libtorchs_generator_alone() {
    // The generator is the whole process's.
    if !alone("counts::building_a_network_leaves_libtorchs_generator_alone") {
        return;
    }
    let next = |build: bool| {
        densenet::tch::manual_seed(5);
        if build {
            let _ = variables(&DenseNetConfig::fashion_mnist());
        }
        Tensor::rand([8], (Kind::Float, Device::Cpu))
    };
    assert!(next(false).equal(&next(true)));
}
