//! Parameter groups and layer-wise learning-rate decay.

use crate::small_run::{Watch, built, fit, images, net, resuming};
use crate::variables::bits;
use densenet::error::{CheckpointError, ConfigError};
use densenet::optim::{AdamWConfig, LayerDecay, Optimizer, ParameterGroup, ParameterTable, SgdConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::train::{Event, Run};
use densenet::{DenseNet, Error, Result, TrainConfig, Trainer};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;

/// Variables of ones with these names and two elements each.
fn ones(names: &[&str]) -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    for name in names {
        let (path, name) = name.rsplit_once('.').unwrap_or(("", name));
        let path = path.split('.').filter(|part| !part.is_empty()).fold(vs.root(), |path, part| path / part);
        let _ = path.ones(name, &[2]);
    }
    vs
}

/// The learning rates of the rows, by name.
fn rates(table: &ParameterTable) -> Vec<(&str, f64)> {
    table.rows.iter().map(|row| (row.name.as_str(), row.learning_rate)).collect()
}

#[test]
fn a_prefix_consists_of_whole_components() {
    let vs = ones(&["features.block1.weight", "features.block10.weight", "features.block1x", "features.block1"]);
    for prefix in ["features.block1", "features.block1."] {
        let config = SgdConfig::new(0.1).with_group(ParameterGroup::prefix(prefix).with_learning_rate(0.5));
        let table = config.parameters(&vs).unwrap();
        let expected = [
            ("features.block1", 0.5),
            ("features.block1.weight", 0.5),
            ("features.block10.weight", 0.1),
            ("features.block1x", 0.1),
        ];
        assert_eq!(rates(&table), expected);
    }
}

#[test]
fn every_group_that_matches_applies_and_the_last_one_wins() {
    let (vs, _) = built(&net());
    let config = AdamWConfig::new(0.1)
        .with_weight_decay(0.3)
        .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0))
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(0.5).with_weight_decay(0.2))
        .with_group(ParameterGroup::matching("the bias", |own| own.name == "classifier.bias").with_learning_rate(0.7));
    let table = config.parameters(&vs).unwrap();
    let of = |name: &str| {
        let row = table.rows.iter().find(|row| row.name == name).unwrap();
        (row.learning_rate, row.weight_decay)
    };
    assert_eq!(of("classifier.bias"), (0.7, 0.2));
    assert_eq!(of("classifier.weight"), (0.5, 0.2));
    assert_eq!(of("features.norm0.weight"), (0.1, 0.0));
    assert_eq!(of("features.conv0.weight"), (0.1, 0.3));
    assert!(table.rows.iter().all(|row| !row.name.contains("running")), "buffers are no parameters");
    let text = table.to_string();
    assert_eq!(text.lines().count(), 5, "{text}");
    // The classifier's weight alone has these values.
    assert!(text.lines().any(|line| line.contains("5.0000e-1") && line.ends_with("classifier.weight")), "{text}");
}

#[test]
fn each_group_moves_by_its_own_rate_which_a_schedule_multiplies() {
    let vs = ones(&["a", "b", "c"]);
    let config = SgdConfig::new(0.5)
        .with_group(ParameterGroup::prefix("b").with_learning_rate(0.25))
        .with_group(ParameterGroup::prefix("c").with_weight_decay(1.0));
    let mut optimizer = config.build(&vs).unwrap();
    vs.variables().values().for_each(|own| own.sum(Kind::Float).backward());
    // Half the base rate: 0.25, 0.125, 0.25. All numbers are exact in binary.
    optimizer.step(0.25).unwrap();
    let value = |name: &str| vs.variables()[name].double_value(&[0]);
    assert_eq!([value("a"), value("b"), value("c")], [0.75, 0.875, 0.5]);
}

#[test]
fn layer_decay_multiplies_the_rate_from_stage_to_stage() {
    let (vs, _) = built(&net());
    let config = SgdConfig::new(1.0)
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(10.0))
        .with_layer_decay(0.5);
    let table = config.parameters(&vs).unwrap();
    for row in &table.rows {
        let expected = match row.name.split('.').collect::<Vec<_>>()[..] {
            ["classifier", ..] => 10.0,
            [_, "norm5", ..] => 0.5,
            [_, "denseblock2", ..] => 0.25,
            [_, "transition1", ..] => 0.125,
            [_, "denseblock1", ..] => 0.0625,
            [_, "conv0" | "norm0", ..] => 0.03125,
            _ => panic!("{}", row.name),
        };
        assert_eq!(row.learning_rate, expected, "{}", row.name);
    }
    // Stages of a model of one's own: only their order counts.
    let vs = ones(&["body", "head", "neck"]);
    let stage = |own: &densenet::optim::ParameterInfo| match &own.name[..] {
        "body" => 3,
        "neck" => 7,
        _ => 100,
    };
    let config = SgdConfig::new(1.0).with_layer_decay(LayerDecay::new(0.5).with_stages("body, neck, head", stage));
    assert_eq!(rates(&config.parameters(&vs).unwrap()), [("body", 0.25), ("head", 1.0), ("neck", 0.5)]);
}

#[test]
fn what_groups_cannot_have_is_an_error_that_names_it() {
    let (vs, _) = built(&net());
    let text = |config: SgdConfig| match config.build(&vs) {
        Err(Error::Config(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let sgd = || SgdConfig::new(0.1);
    let message = text(sgd().with_group(ParameterGroup::prefix("clasifier")));
    assert!(message.contains("\"clasifier\"") && message.contains("classifier.bias"), "{message}");
    assert!(text(sgd().with_group(ParameterGroup::prefix(""))).contains("selects no variable"));
    assert!(text(sgd().with_group(ParameterGroup::matching("embeddings", |_| false))).contains("\"embeddings\""));
    let classifier = || ParameterGroup::prefix("classifier");
    for rate in [0.0, -0.5, f64::NAN, f64::INFINITY] {
        let message = text(sgd().with_group(classifier().with_learning_rate(rate)));
        assert!(message.contains("learning rate of a group") && message.contains(&rate.to_string()), "{message}");
    }
    for decay in [-0.5, f64::NAN] {
        let message = text(sgd().with_group(classifier().with_weight_decay(decay)));
        assert!(message.contains("weight decay of a group"), "{message}");
    }
    for decay in [0.0, 1.5, -1.0, f64::NAN, 1e-200] {
        assert!(text(sgd().with_layer_decay(decay)).contains("layer decay"));
    }
    let other = ones(&["layer1.weight"]);
    let error = sgd().with_layer_decay(0.5).build(&other).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::UnknownStage { variable }) if variable == "layer1.weight"));
}

#[test]
fn configurations_are_saved_as_json_without_the_functions_of_their_rules() {
    let (vs, _) = built(&net());
    let plain = SgdConfig::new(0.1).with_momentum(0.9);
    let fields = json!({ "learning_rate": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0 });
    assert_eq!(json!(plain), fields, "a configuration without groups is saved as before there were any");
    assert_eq!(plain.build(&vs).unwrap().configuration(), json!({ "sgd": fields }));
    let read = |config: &SgdConfig| serde_json::from_value::<SgdConfig>(json!(config)).unwrap();
    let groups = plain
        .clone()
        .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0))
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(0.5))
        .with_layer_decay(0.75);
    assert_eq!(read(&groups), groups);
    assert_eq!(read(&groups).build(&vs).unwrap().configuration(), groups.build(&vs).unwrap().configuration());
    let rule = plain.with_group(ParameterGroup::matching("matrices", |own| own.shape.len() > 1));
    assert_eq!(read(&rule), rule, "rules are compared by name");
    let message = read(&rule).build(&vs).unwrap_err().to_string();
    assert!(message.contains("matrices") && message.contains("JSON"), "{message}");
    // Another function of the same name is another run.
    let other = SgdConfig::new(0.1).with_momentum(0.9);
    let other =
        other.with_group(ParameterGroup::matching("matrices", |own| own.shape.len() > 2).with_weight_decay(0.1));
    let one = SgdConfig::new(0.1).with_momentum(0.9);
    let one = one.with_group(ParameterGroup::matching("matrices", |own| own.shape.len() > 1).with_weight_decay(0.1));
    assert_ne!(one.build(&vs).unwrap().configuration(), other.build(&vs).unwrap().configuration());
}

type Build = fn(&VarStore) -> Result<Box<dyn Optimizer>>;

#[test]
fn a_step_over_groups_that_fails_changes_none_of_them() {
    let build: [Build; 2] = [
        |vs| SgdConfig::new(0.1).with_momentum(0.5).with_group(b_alone()).build(vs),
        |vs| AdamWConfig::new(0.1).with_group(b_alone()).build(vs),
    ];
    for build in build {
        let vs = VarStore::new(Device::Cpu);
        let [a, mut b, c] = ["a", "b", "c"].map(|name| vs.root().zeros(name, &[3, 2]));
        let mut optimizer = build(&vs).unwrap();
        // Another memory format than when the optimizer was built, in one of the groups.
        b.set_data(&no_grad(|| Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).transpose(0, 1)));
        [&a, &b, &c].iter().for_each(|own| own.sum(Kind::Float).backward());
        assert!(optimizer.step(0.1).is_err());
        for own in [&a, &b, &c] {
            assert_eq!(own.abs().max().double_value(&[]), 0.0);
        }
        for (name, tensor) in optimizer.state() {
            assert_eq!(tensor.abs().max().double_value(&[]), 0.0, "{name}");
        }
    }
}

fn b_alone() -> ParameterGroup {
    ParameterGroup::prefix("b").with_learning_rate(10.0)
}

/// A run of AdamW with groups, checkpoints in this folder, and this rate of the classifier.
fn with_groups(folder: &Path, rate: f64, epochs: usize) -> Trainer<DenseNet> {
    let (vs, model) = built(&net());
    let optimizer = AdamWConfig::new(0.001)
        .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0))
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(rate))
        .with_layer_decay(0.8)
        .build(&vs)
        .unwrap();
    let config = TrainConfig::new(epochs).with_batch_size(8).with_schedule(densenet::optim::Schedule::cifar());
    Trainer::new(vs, model, optimizer, config).unwrap().with_checkpoints(resuming(folder))
}

#[test]
fn a_resumed_run_with_groups_equals_an_uninterrupted_one_and_other_groups_are_refused() {
    let [whole, parts] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let (train, test) = (images(40, 0), images(8, 1));
    let mut uninterrupted = with_groups(whole.path(), 0.01, 3);
    fit(&mut uninterrupted, &train, &test).unwrap();
    // Seven steps of 15, in the middle of the second epoch.
    let stopped = with_groups(parts.path(), 0.01, 3);
    let (handle, mut steps) = (stopped.stop_handle(), 0);
    let stop = Watch(move |event: &Event, _: &Run| {
        steps += usize::from(matches!(event, Event::StepEnded { .. }));
        if steps == 7 {
            handle.stop();
        }
        Ok(ControlFlow::Continue(()))
    });
    let mut stopped = stopped.with_callback(stop);
    fit(&mut stopped, &train, &test).unwrap();
    assert_ne!(bits(stopped.var_store()), bits(uninterrupted.var_store()));
    drop(stopped);
    let refused = fit(&mut with_groups(parts.path(), 0.02, 3), &train, &test);
    let Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) = refused else {
        panic!("{refused:?}")
    };
    assert!(differences.contains_key("optimizer"), "{differences:?}");
    let mut resumed = with_groups(parts.path(), 0.01, 3);
    fit(&mut resumed, &train, &test).unwrap();
    assert_eq!(bits(resumed.var_store()), bits(uninterrupted.var_store()));
}
