//! What a run is: everything that its result depends on has to be the same when it is resumed.

use crate::small_run::{Seen, built, checkpoints, fit, images, net, record, resuming, trainer, with_targets};
use crate::variables::bits;
use densenet::data::{InMemoryDataset, Targets};
use densenet::error::CheckpointError;
use densenet::nn::{Dropout, NormReluConfig};
use densenet::optim::SgdConfig;
use densenet::tch::{Kind, Tensor};
use densenet::train::{Callback, Change, Datasets, EarlyStop, Event, History, Monitor, SaveWeights};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNet, DenseNetConfig, Error, Result, TrainConfig, Trainer};
use std::fs;
use std::path::Path;

fn config(epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs).with_batch_size(8)
}

fn of(net: &DenseNetConfig) -> Trainer<DenseNet> {
    let (vs, model) = built(net);
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    Trainer::new(vs, model, optimizer, config(1)).unwrap()
}

/// The fields in which a resumed run differs from the saved one.
fn differences(outcome: Result<History>) -> Vec<String> {
    match outcome {
        Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) => differences.into_keys().collect(),
        other => panic!("{other:?}"),
    }
}

/// The data set with another label at this place.
fn relabeled(dataset: &InMemoryDataset, place: usize) -> InMemoryDataset {
    let Targets::Classes(mut classes) = densenet::Dataset::targets(dataset).unwrap() else { panic!("classes") };
    classes[place] = (classes[place] + 1) % 4;
    let names: Vec<&str> = densenet::Dataset::classes(dataset).iter().map(String::as_str).collect();
    with_targets(dataset, Targets::Classes(classes), &names)
}

#[test]
fn a_run_with_another_model_loss_callback_or_label_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = (images(300, 0), images(8, 1));
    fit(&mut of(&net()).with_checkpoints(checkpoints(folder.path())), &train, &test).unwrap();
    let resumed = |trainer: Trainer<DenseNet>, train: &InMemoryDataset| {
        differences(fit(&mut trainer.with_checkpoints(resuming(folder.path())), train, &test))
    };
    let norm = NormReluConfig::default();
    for other in [
        net().with_dropout(Dropout::new(0.5)),
        net().with_norm(norm.with_epsilon(1e-3)),
        net().with_norm(norm.with_momentum(0.5)),
    ] {
        assert_eq!(resumed(of(&other), &train), ["model"]);
    }
    let squares = |outputs: &Tensor, _: &Tensor| outputs.square().mean(Kind::Float);
    assert_eq!(resumed(of(&net()).with_loss(squares), &train), ["loss"]);
    assert_eq!(resumed(of(&net()).with_callback(EarlyStop::after(3)), &train), ["callbacks"]);
    let frozen = of(&net());
    let _ = frozen.var_store().variables()["classifier.bias"].set_requires_grad(false);
    assert_eq!(resumed(frozen, &train), ["frozen variables"]);
    for place in [0, 1, 150, 299] {
        assert_eq!(resumed(of(&net()), &relabeled(&train, place)), ["training set"]);
    }
    assert_eq!(fit(&mut of(&net()).with_checkpoints(resuming(folder.path())), &train, &test).unwrap().epochs.len(), 1);
}

fn savers(folder: &Path) -> [SaveWeights; 2] {
    let file = |name: &str| folder.join(name);
    [
        SaveWeights::best_to(file("by_loss.safetensors"), Monitor::loss()),
        SaveWeights::best_to(file("by_accuracy.safetensors"), Monitor::accuracy()),
    ]
}

fn fitted(mut trainer: Trainer<DenseNet>) -> Result<History> {
    let (train, validation) = (images(24, 0), images(40, 1));
    trainer.fit(&Datasets::new(&train).with_validation(&validation))
}

#[test]
fn callbacks_find_their_states_by_name_and_settings_in_whatever_order_they_are() {
    let whole = tempfile::tempdir().unwrap();
    let [by_loss, by_accuracy] = savers(whole.path());
    fitted(trainer(config(6)).with_callback(by_loss).with_callback(by_accuracy).with_callback(EarlyStop::after(9)))
        .unwrap();
    let parts = tempfile::tempdir().unwrap();
    let [by_loss, by_accuracy] = savers(parts.path());
    let first = trainer(config(3)).with_callback(by_loss).with_callback(by_accuracy);
    fitted(first.with_callback(EarlyStop::after(9)).with_checkpoints(checkpoints(parts.path()))).unwrap();
    let [by_loss, by_accuracy] = savers(parts.path());
    let second =
        trainer(config(6)).with_callback(EarlyStop::after(9)).with_callback(by_accuracy).with_callback(by_loss);
    let allowed = resuming(parts.path()).with_allowed_changes(vec![Change::Epochs]);
    fitted(second.with_checkpoints(allowed)).unwrap();
    for name in ["by_loss.safetensors", "by_accuracy.safetensors"] {
        let [a, b] = [&whole, &parts].map(|folder| fs::read(folder.path().join(name)).unwrap());
        assert!(a == b, "{name}");
    }
}

#[test]
fn a_saver_by_another_metric_is_another_callback_and_begins_anew_where_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let saver = |monitor| SaveWeights::best_to(folder.path().join("best.safetensors"), monitor);
    let first = trainer(config(2)).with_callback(saver(Monitor::accuracy()));
    fitted(first.with_checkpoints(checkpoints(folder.path()))).unwrap();
    fs::remove_file(folder.path().join("best.safetensors")).unwrap();
    let second = || trainer(config(3)).with_callback(saver(Monitor::loss()));
    let epochs = resuming(folder.path()).with_allowed_changes(vec![Change::Epochs]);
    assert_eq!(differences(fitted(second().with_checkpoints(epochs.clone()))), ["callbacks"]);
    let (ends, watch) = record(|event, run| matches!(event, Event::EpochEnded { .. }).then(|| bits(run.vs)));
    let allowed = epochs.with_allowed_changes(vec![Change::Epochs, Change::Callbacks]);
    fitted(second().with_callback(watch).with_checkpoints(allowed)).unwrap();
    let (vs, _model) = built(&net());
    load(&vs, folder.path().join("best.safetensors"), &LoadConfig::new()).unwrap();
    assert!(ends.borrow()[0] == bits(&vs), "its first epoch is its best");
}

/// A callback with a state, and settings of its own.
struct Counter {
    limit: usize,
    count: usize,
}

impl Callback for Counter {
    fn on_event(&mut self, event: &Event, _: &densenet::train::Run) -> Result<std::ops::ControlFlow<()>> {
        self.count += usize::from(matches!(event, Event::StepEnded { .. }));
        Ok(std::ops::ControlFlow::Continue(()))
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "limit": self.limit })
    }
    fn state(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!(self.count))
    }
    fn load_state(&mut self, state: &serde_json::Value) -> Result<()> {
        self.count = serde_json::from_value(state.clone()).map_err(Error::other)?;
        Ok(())
    }
}

#[test]
fn a_callback_of_ones_own_is_compared_by_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let of = |limit| trainer(config(1)).with_callback(Counter { limit, count: 0 });
    fitted(of(3).with_checkpoints(checkpoints(folder.path()))).unwrap();
    assert_eq!(differences(fitted(of(4).with_checkpoints(resuming(folder.path())))), ["callbacks"]);
    fitted(of(3).with_checkpoints(resuming(folder.path()))).unwrap();
}

/// A callback whose state is its own label, and which keeps what it is given back.
struct Labeled(&'static str, Seen<(&'static str, String)>);

impl Callback for Labeled {
    fn on_event(&mut self, _: &Event, _: &densenet::train::Run) -> Result<std::ops::ControlFlow<()>> {
        Ok(std::ops::ControlFlow::Continue(()))
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }
    fn state(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!(self.0))
    }
    fn load_state(&mut self, state: &serde_json::Value) -> Result<()> {
        self.1.borrow_mut().push((self.0, state.as_str().unwrap_or_default().to_owned()));
        Ok(())
    }
}

#[test]
fn callbacks_of_one_type_get_the_state_of_their_settings_and_not_of_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = Seen::default();
    let with = |labels: [&'static str; 3]| {
        labels.iter().fold(trainer(config(1)), |trainer, label| trainer.with_callback(Labeled(label, loaded.clone())))
    };
    fitted(with(["a", "b", "c"]).with_checkpoints(checkpoints(folder.path()))).unwrap();
    fitted(with(["c", "a", "b"]).with_checkpoints(resuming(folder.path()))).unwrap();
    let loaded = loaded.borrow();
    assert_eq!(loaded.len(), 3);
    assert!(loaded.iter().all(|(label, state)| label == state), "{loaded:?}");
}
