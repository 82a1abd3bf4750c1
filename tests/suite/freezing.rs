//! Frozen parts of a network, and training in two phases.

use crate::golden::cross_entropy;
use crate::numbers::numbers;
use crate::small_run::{Watch, built, images, net};
use crate::variables::{bits, named_variables};
use densenet::error::ConfigError;
use densenet::nn::{Execution, ForwardContext, Mode, freeze, unfreeze};
use densenet::optim::{AdamWConfig, Optimizer, ParameterGroup, SgdConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::train::{CheckpointConfig, Datasets, Event, Outcome, Run};
use densenet::{DenseNet, Error, Model, Result, TrainConfig, Trainer};
use std::ops::ControlFlow;
use std::path::Path;

#[test]
fn a_prefix_freezes_its_parameters_and_no_buffer_becomes_trainable() {
    let (vs, _) = built(&net());
    let trainable = || {
        let trained = named_variables(&vs).into_iter().filter(|variable| variable.trainable);
        trained.map(|variable| variable.name).collect::<Vec<_>>()
    };
    let all = trainable();
    assert_eq!(freeze(&vs, "features.denseblock1").unwrap(), 12);
    let expected: Vec<_> = all.iter().filter(|name| !name.starts_with("features.denseblock1.")).cloned().collect();
    assert_eq!(trainable(), expected);
    assert_eq!(freeze(&vs, "features").unwrap(), all.len() - 2);
    assert_eq!(trainable(), ["classifier.bias", "classifier.weight"]);
    assert_eq!(unfreeze(&vs, "features").unwrap(), all.len() - 2);
    assert_eq!(trainable(), all, "and no running statistics");
    for error in [freeze(&vs, "feature"), unfreeze(&vs, "features.norm0.running_mean")] {
        let Err(Error::Config(ConfigError::NothingSelected { selection, known })) = error else { panic!("{error:?}") };
        assert!(selection.contains("feature") && known.contains(&"features.conv0".to_owned()), "{known:?}");
    }
    freeze(&vs, "features").and(freeze(&vs, "classifier")).unwrap();
    assert!(matches!(SgdConfig::new(0.1).build(&vs), Err(Error::Config(ConfigError::NothingToTrain))));
}

type Build = fn(&VarStore) -> Result<Box<dyn Optimizer>>;

/// Optimizers without state, with one tensor per parameter, and with two and a count.
const OPTIMIZERS: [Build; 3] = [
    |vs| SgdConfig::new(0.1).build(vs),
    |vs| SgdConfig::new(0.1).with_nesterov_momentum(0.9).build(vs),
    |vs| AdamWConfig::new(0.1).build(vs),
];

/// Two parameters with different values.
fn two() -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    for (salt, name) in ["body", "head"].into_iter().enumerate() {
        let _ = vs.root().var_copy(name, &numbers(&[3, 2], salt as i64).to_kind(Kind::Float));
    }
    vs
}

/// Makes a step on a loss that depends on all parameters.
fn step(vs: &VarStore, optimizer: &mut dyn Optimizer) {
    optimizer.zero_grad().unwrap();
    let loss: Tensor = vs.variables().values().map(|own| own.square().sum(Kind::Float)).sum();
    loss.backward();
    optimizer.step(0.1).unwrap();
}

fn state(optimizer: &dyn Optimizer) -> Vec<(String, Tensor)> {
    optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

#[test]
fn an_optimizer_that_was_built_before_unfreezing_equals_one_that_was_built_after() {
    for build in OPTIMIZERS {
        let [late, early] = [two(), two()];
        let mut optimizer = build(&late).unwrap();
        freeze(&early, "body").unwrap();
        let mut other = build(&early).unwrap();
        assert!(state(&*other).iter().all(|(name, _)| name.starts_with("head.")), "frozen parameters cost no memory");
        unfreeze(&early, "body").unwrap();
        for _ in 0..3 {
            step(&late, &mut *optimizer);
            step(&early, &mut *other);
        }
        assert_eq!(bits(&late), bits(&early));
        assert_eq!(state(&*optimizer), state(&*other));
    }
}

#[test]
fn a_parameter_that_is_frozen_later_stays_and_so_does_its_state() {
    for build in OPTIMIZERS {
        let vs = two();
        let mut optimizer = build(&vs).unwrap();
        step(&vs, &mut *optimizer);
        let of = |part: &str, state: Vec<(String, Tensor)>| {
            state.into_iter().filter(|(name, _)| name.starts_with(part)).collect::<Vec<_>>()
        };
        let [body, head] = [0, 1].map(|place| bits(&vs)[place].clone());
        let before = state(&*optimizer);
        freeze(&vs, "body").unwrap();
        // Its gradient is still there: an optimizer of PyTorch would step by it.
        optimizer.step(0.1).unwrap();
        step(&vs, &mut *optimizer);
        assert_eq!(bits(&vs)[0], body);
        assert_ne!(bits(&vs)[1], head);
        assert_eq!(of("body", state(&*optimizer)), of("body", before));
        unfreeze(&vs, "body").unwrap();
        step(&vs, &mut *optimizer);
        assert_ne!(bits(&vs)[0], body);
    }
}

#[test]
fn a_saved_state_has_or_has_not_the_tensors_of_parameters_that_were_frozen_at_first() {
    let frozen = |build: Build| {
        let vs = two();
        freeze(&vs, "body").unwrap();
        let optimizer = build(&vs).unwrap();
        unfreeze(&vs, "body").unwrap();
        (vs, optimizer)
    };
    for build in &OPTIMIZERS[1..] {
        let (vs, mut trained) = frozen(*build);
        let untrained = state(&*trained);
        step(&vs, &mut *trained);
        let saved = state(&*trained);
        assert!(saved.len() > untrained.len());
        let (_, mut other) = frozen(*build);
        other.load_state(&saved).unwrap();
        assert_eq!(state(&*other), saved);
        // A part of a parameter's state is not taken, and the state stays.
        let (_, mut third) = frozen(*build);
        let part: Vec<_> = saved.iter().skip(1).map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        if part.iter().any(|(name, _)| name.starts_with("body.")) {
            assert!(third.load_state(&part).is_err());
            assert_eq!(state(&*third), untrained);
        }
        // Back to a state from before the first step; the next one begins at zeros.
        other.load_state(&untrained).unwrap();
        assert_eq!(state(&*other), untrained);
        // What was trained from the beginning is required.
        let vs = two();
        let mut whole = build(&vs).unwrap();
        assert!(whole.load_state(&untrained).is_err());
    }
}

#[test]
fn the_fused_engine_computes_the_gradients_of_partly_frozen_blocks_and_no_others() {
    let x = numbers(&[2, 1, 16, 16], 5).to_kind(Kind::Double);
    let y = Tensor::from_slice(&[0_i64, 3]);
    for frozen in [
        &["features"][..],
        &["features.denseblock1", "features.conv0", "features.norm0"],
        &["features.denseblock1.denselayer1"],
        &["features.denseblock2.denselayer2.norm1", "features.denseblock1.denselayer2.conv1.weight"],
        &["features.norm5.weight", "features.transition1.norm", "classifier"],
    ] {
        let pass = |execution: Execution| {
            let (mut vs, model) = built(&net());
            vs.double();
            frozen.iter().for_each(|prefix| assert!(freeze(&vs, prefix).unwrap() > 0));
            let logits = model.forward(&x, &ForwardContext::new(Mode::Train).with_execution(execution)).unwrap();
            cross_entropy(&logits, &y).backward();
            named_variables(&vs).into_iter().map(|own| (own.name, own.trainable, own.tensor.grad())).collect::<Vec<_>>()
        };
        for (fused, reference) in pass(Execution::Fused).into_iter().zip(pass(Execution::Reference)) {
            let ((name, trainable, fused), (.., reference)) = (fused, reference);
            assert_eq!(fused.defined(), trainable, "{name}");
            assert_eq!(reference.defined(), trainable, "{name}");
            if trainable {
                let error = (&fused - &reference).abs().max().double_value(&[]);
                // f64 sums in another order, of gradients below 10.
                assert!(error < 1e-12, "{frozen:?} {name}: {error:e}");
            }
        }
    }
}

/// The first phase of a run: the classifier alone, under SGD.
fn first_phase(folder: &Path) -> Trainer<DenseNet> {
    let (vs, model) = built(&net());
    freeze(&vs, "features").unwrap();
    let optimizer = SgdConfig::new(0.1).with_momentum(0.9).build(&vs).unwrap();
    let config = TrainConfig::new(1).with_batch_size(8).with_mode(Mode::TrainFrozenNorms);
    Trainer::new(vs, model, optimizer, config).unwrap().with_checkpoints(in_folder(folder, "first"))
}

/// The second phase: everything, under AdamW with two rates.
fn second_phase(first: Trainer<DenseNet>, folder: &Path) -> Trainer<DenseNet> {
    let (vs, model, _) = first.into_parts();
    unfreeze(&vs, "features").unwrap();
    let optimizer = AdamWConfig::new(1e-3)
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(1e-2))
        .build(&vs)
        .unwrap();
    let config = TrainConfig::new(2).with_batch_size(8).with_seed(1);
    Trainer::new(vs, model, optimizer, config).unwrap().with_checkpoints(in_folder(folder, "second"))
}

fn in_folder(folder: &Path, phase: &str) -> CheckpointConfig {
    CheckpointConfig::in_folder(folder.join(phase)).with_resume()
}

/// Stops a trainer after this number of steps.
fn stopped_after(trainer: Trainer<DenseNet>, most: usize) -> Trainer<DenseNet> {
    let (handle, mut steps) = (trainer.stop_handle(), 0);
    trainer.with_callback(Watch(move |event: &Event, _: &Run| {
        steps += usize::from(matches!(event, Event::StepEnded { .. }));
        if steps == most {
            handle.stop();
        }
        Ok(ControlFlow::Continue(()))
    }))
}

#[test]
fn two_phases_resume_exactly_in_the_middle_of_either() {
    let train = images(40, 0);
    let datasets = Datasets::new(&train);
    let whole = tempfile::tempdir().unwrap();
    let mut first = first_phase(whole.path());
    let body = |trainer: &Trainer<DenseNet>| {
        bits(trainer.var_store()).into_iter().filter(|(name, _)| name.starts_with("features")).collect::<Vec<_>>()
    };
    let at_first = body(&first);
    first.fit(&datasets).unwrap();
    assert_eq!(body(&first), at_first, "neither parameters nor running statistics of the frozen part change");
    let mut second = second_phase(first, whole.path());
    second.fit(&datasets).unwrap();
    assert_ne!(body(&second), at_first);
    let expected = bits(second.var_store());

    let parts = tempfile::tempdir().unwrap();
    // A process that ends in the middle of the first phase, and one that ends in the middle of the second.
    let mut process = stopped_after(first_phase(parts.path()), 2);
    process.fit(&datasets).unwrap();
    assert_eq!(process.outcome(), Some(Outcome::Interrupted));
    drop(process);
    let mut first = first_phase(parts.path());
    first.fit(&datasets).unwrap();
    let mut process = stopped_after(second_phase(first, parts.path()), 7);
    process.fit(&datasets).unwrap();
    assert_eq!(process.outcome(), Some(Outcome::Interrupted));
    drop(process);
    // The first phase is loaded from its last checkpoint.
    let mut first = first_phase(parts.path());
    first.fit(&datasets).unwrap();
    let mut second = second_phase(first, parts.path());
    second.fit(&datasets).unwrap();
    assert_eq!(bits(second.var_store()), expected);
}
