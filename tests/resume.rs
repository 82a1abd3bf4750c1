//! A run that is stopped anywhere and resumed ends with the same bits. A binary of its own, since its tests change the
//! number of libtorch's threads.

#[path = "suite/support/real_data.rs"]
mod real_data;

use densenet::data::{Dataset, Subset, split_validation};
use densenet::error::CheckpointError;
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::nn::{Dropout, Execution, StemConfig};
use densenet::optim::{AdamWConfig, Schedule, SgdConfig};
use densenet::tch::{self, Tensor, nn::VarStore};
use densenet::train::{
    Callback, Change, CheckpointConfig, Datasets, EarlyStop, Event, History, Monitor, Run, SaveEvery, SaveWeights,
    StopHandle,
};
use densenet::{DenseNet, DenseNetConfig, Error, FashionMnist, Result, Split, TrainConfig, Trainer};
use real_data::real_data;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};

/// Held by each test: they share libtorch's threads.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const SAMPLES: usize = 100;
const BATCH: usize = 16;
const HELD_OUT: usize = 20;
/// Of an epoch: 80 samples.
const STEPS: usize = 5;

/// A little of the real data, for training and for the test.
fn data() -> Option<[Subset<FashionMnist>; 2]> {
    let first = |split, samples| Some(Subset::first(real_data(split)?, samples));
    Some([first(Split::Train, SAMPLES)?, first(Split::Test, 24)?])
}

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    execution: Execution,
    workers: usize,
    adamw: bool,
    schedule: fn() -> Schedule,
}

/// Interrupts the run after a step, counted over its epochs, or at the start of the evaluation after it.
struct StopAfter {
    step: usize,
    in_evaluation: bool,
    handle: StopHandle,
}

impl Callback for StopAfter {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        let is_it = match event {
            Event::StepEnded { .. } => !self.in_evaluation,
            Event::EvaluationStarted { .. } => self.in_evaluation,
            _ => false,
        };
        if is_it && (run.epoch - 1) * STEPS + run.step == self.step {
            self.handle.stop();
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn net() -> DenseNetConfig {
    DenseNetConfig::new(10)
        .with_input_channels(1)
        .with_initial_channels(6)
        .with_growth_rate(4)
        .with_layers_per_block([2, 1])
        .with_plain_layers()
        .with_stem(StemConfig::cifar().with_stride(2))
        .with_conv_bias()
        .with_dropout(Dropout::new(0.2))
}

fn trainer(kind: Kind, epochs: usize, folder: &Path) -> Trainer<DenseNet> {
    let vs = VarStore::new(tch::Device::Cpu);
    let model = net().build(&vs.root()).unwrap();
    let optimizer = match kind.adamw {
        true => AdamWConfig::new(0.01).build(&vs).unwrap(),
        false => SgdConfig::new(0.05).with_nesterov_momentum(0.9).build(&vs).unwrap(),
    };
    let config = TrainConfig::new(epochs)
        .with_batch_size(BATCH)
        .with_seed(3)
        .with_schedule((kind.schedule)())
        .with_workers(kind.workers)
        .with_execution(kind.execution);
    Trainer::new(vs, model, optimizer, config)
        .unwrap()
        .with_metric(Confidence::default())
        .with_callback(EarlyStop::after(10))
        .with_callback(SaveWeights::to(folder.join("model.safetensors")))
}

/// The mean of the largest probabilities: a metric with a state of its own.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct Confidence {
    sum: f64,
    samples: usize,
}

impl Metric for Confidence {
    fn name(&self) -> String {
        "confidence".to_owned()
    }

    fn direction(&self) -> Direction {
        Direction::Maximize
    }

    fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        let probabilities = batch.outputs.softmax(-1, tch::Kind::Double);
        self.sum += probabilities.amax([-1], false).sum(tch::Kind::Double).double_value(&[]);
        self.samples += batch.samples();
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.samples += other.samples;
    }

    fn compute(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / self.samples as f64)
    }
}

/// Trains on the training set without the samples that are held out.
fn fit(trainer: &mut Trainer<DenseNet>, train: &dyn Dataset, test: &dyn Dataset) -> Result<History> {
    let (train, validation) = split_validation(train, HELD_OUT as f64 / train.len() as f64, 3)?;
    trainer.fit(&Datasets::new(&train).with_validation(&validation).with_test(test))
}

fn checkpoints(folder: &Path) -> CheckpointConfig {
    CheckpointConfig::in_folder(folder.join("checkpoints"))
        .with_every(SaveEvery::Steps(3))
        .with_keep_best(1, Monitor::max("confidence"))
}

fn resuming(folder: &Path) -> CheckpointConfig {
    checkpoints(folder).with_resume()
}

/// Where a run was resumed: epoch and step, and what was wrong with skipped checkpoints.
#[derive(Clone, Default)]
struct Resumed(Rc<RefCell<Vec<Place>>>);

/// The epoch, the step, and what was skipped.
type Place = (usize, usize, Vec<String>);

impl Callback for Resumed {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
        if let Event::Resumed { epoch, step, skipped } = event {
            let skipped = skipped.iter().map(|error| error.to_string()).collect();
            self.0.borrow_mut().push((*epoch, *step, skipped));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The newest checkpoint in a folder.
fn newest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).max().unwrap()
}

/// SHA-256 over all tensors and the state of the newest checkpoint, but for wall times, the run's identifier and the
/// numbers of its checkpoints, and over the weights' file.
fn digest(folder: &Path) -> String {
    let bytes = fs::read(newest(folder)).unwrap();
    let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    let mut state = serde_json::from_str::<serde_json::Value>(&metadata["densenet"]).unwrap()["state"].take();
    state["progress"]["seconds"].take();
    state["progress"]["run_id"].take();
    state["ranking"]["last_good"].take();
    for best in state["ranking"]["best"].as_array_mut().unwrap() {
        best[1].take();
    }
    for record in state["progress"]["history"]["epochs"].as_array_mut().unwrap() {
        record["train_seconds"].take();
        record["evaluation_seconds"].take();
    }
    let mut digest = Sha256::new();
    digest.update(state.to_string());
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!tensors.is_empty());
    for (name, tensor) in tensors {
        digest.update(format!("{name} {:?} {:?}", tensor.dtype(), tensor.shape()));
        digest.update(tensor.data());
    }
    digest.update(fs::read(folder.join("model.safetensors")).unwrap());
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The uninterrupted run of two epochs.
fn uninterrupted(kind: Kind, [train, test]: &[Subset<FashionMnist>; 2]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(kind, 2, folder.path()).with_checkpoints(checkpoints(folder.path()));
    assert_eq!(fit(&mut trainer, train, test).unwrap().epochs.len(), 2);
    drop(trainer);
    digest(folder.path())
}

/// Interrupts a run after this step, counted over its epochs, or in the evaluation after it, and resumes it; the result
/// is that of the uninterrupted run.
fn interrupted(kind: Kind, [train, test]: &[Subset<FashionMnist>; 2], step: usize, in_evaluation: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let first = trainer(kind, 2, folder.path());
    let stop = StopAfter { step, in_evaluation, handle: first.stop_handle() };
    fit(&mut first.with_callback(stop).with_checkpoints(checkpoints(folder.path())), train, test).unwrap();
    let resumed = Resumed::default();
    let second = trainer(kind, 2, folder.path()).with_callback(resumed.clone());
    let mut second = second.with_checkpoints(resuming(folder.path()));
    let history = fit(&mut second, train, test).unwrap();
    // After the last step of an epoch its evaluation is still to come.
    let place = ((step - 1) / STEPS + 1, (step - 1) % STEPS + 1, Vec::new());
    assert_eq!(*resumed.0.borrow(), [place]);
    assert_eq!(history.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);
    drop(second);
    digest(folder.path())
}

#[test]
fn a_run_stopped_after_any_step_or_in_an_evaluation_and_resumed_equals_the_uninterrupted_one() {
    let _alone = alone();
    let Some(data) = data() else { return };
    for execution in [Execution::Fused, Execution::Reference] {
        for (workers, adamw, threads) in [(0, false, 1), (1, false, 2), (4, true, 1)] {
            tch::set_num_threads(threads);
            let kind = Kind { execution, workers, adamw, schedule: || Schedule::Constant };
            let expected = uninterrupted(kind, &data);
            let moments = (1..2 * STEPS).map(|step| (step, false)).chain([(STEPS, true), (2 * STEPS, true)]);
            for (step, in_evaluation) in moments {
                let ended = interrupted(kind, &data, step, in_evaluation);
                assert_eq!(ended, expected, "{kind:?}, step {step}, evaluation: {in_evaluation}");
            }
        }
    }
}

#[test]
fn a_run_with_any_schedule_stopped_after_any_step_equals_the_uninterrupted_one() {
    let _alone = alone();
    let Some(data) = data() else { return };
    tch::set_num_threads(1);
    let schedules: [fn() -> Schedule; 5] = [
        || Schedule::Constant,
        || Schedule::Epochs { milestones: vec![1], gamma: 0.5 },
        || Schedule::Shares { milestones: vec![0.25, 0.65], gamma: 0.1 },
        Schedule::cifar,
        || Schedule::Cosine,
    ];
    for (number, schedule) in schedules.into_iter().enumerate() {
        let kind = Kind { execution: Execution::Fused, workers: 1, adamw: false, schedule };
        let expected = uninterrupted(kind, &data);
        for step in 1..2 * STEPS {
            assert_eq!(interrupted(kind, &data, step, false), expected, "schedule {number}, step {step}");
        }
    }
}

#[test]
fn another_configuration_or_data_set_is_refused_by_name_unless_allowed() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let kind = Kind { execution: Execution::Auto, workers: 0, adamw: false, schedule: || Schedule::Constant };
    let folder = tempfile::tempdir().unwrap();
    let fresh = || trainer(kind, 1, folder.path()).with_checkpoints(checkpoints(folder.path()));
    let mut first = fresh();
    fit(&mut first, &train, &test).unwrap();
    match fit(&mut fresh(), &train, &test) {
        Err(Error::Checkpoint(CheckpointError::FolderInUse { .. })) => {}
        other => panic!("{other:?}"),
    }
    drop(first);
    match fit(&mut fresh(), &train, &test) {
        Err(Error::Checkpoint(CheckpointError::CheckpointsExist { .. })) => {}
        other => panic!("{other:?}"),
    }
    let resumed = |kind: Kind, epochs: usize, train: &dyn Dataset, allowed: &[Change]| {
        let config = resuming(folder.path()).with_allowed_changes(allowed.to_vec());
        let mut trainer = trainer(kind, epochs, folder.path()).with_checkpoints(config);
        fit(&mut trainer, train, &test).map(|history| history.epochs.len())
    };
    let differences = |outcome: Result<usize>| match outcome {
        Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) => {
            differences.into_keys().collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(differences(resumed(kind, 2, &train, &[])), ["epochs"]);
    assert_eq!(differences(resumed(Kind { adamw: true, ..kind }, 1, &train, &[])), ["optimizer"]);
    let other = Subset::first(FashionMnist::open(Split::Test).unwrap(), SAMPLES);
    assert_eq!(differences(resumed(kind, 1, &other, &[])), ["training set", "validation set"]);
    assert_eq!(differences(resumed(kind, 1, &other, &[Change::ValidationSet])), ["training set"]);
    assert_eq!(resumed(kind, 1, &train, &[]).unwrap(), 1, "a finished run has nothing left to do");
    assert_eq!(resumed(Kind { workers: 2, ..kind }, 2, &train, &[Change::Epochs]).unwrap(), 2);
}

#[test]
fn every_change_that_can_be_allowed_is_a_field_that_is_compared() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kind = Kind { execution: Execution::Reference, workers: 0, adamw: false, schedule: || Schedule::Constant };
    fit(&mut trainer(kind, 1, folder.path()).with_checkpoints(checkpoints(folder.path())), &train, &test).unwrap();
    let all = [
        Change::Epochs,
        Change::BatchSize,
        Change::Seed,
        Change::Schedule,
        Change::Preprocess,
        Change::Mode,
        Change::Execution,
        Change::Precision,
        Change::Optimizer,
        Change::Model,
        Change::FrozenVariables,
        Change::Loss,
        Change::Callbacks,
        Change::SkipNonFinite,
        Change::TrainingSet,
        Change::ValidationSet,
        Change::TestSet,
    ];
    // A run in which all of them differ: where each is allowed but one, that one is named.
    let other = |split, samples| Subset::first(FashionMnist::open(split).unwrap(), samples);
    let (other_train, other_test) = (other(Split::Test, SAMPLES), other(Split::Train, 24));
    for (number, _) in all.iter().enumerate() {
        let mut allowed = all.to_vec();
        allowed.remove(number);
        let vs = VarStore::new(tch::Device::Cpu);
        let model = net().with_dropout(Dropout::new(0.3)).build(&vs.root()).unwrap();
        let _ = vs.variables()["classifier.bias"].set_requires_grad(false);
        let optimizer = SgdConfig::new(0.06).with_nesterov_momentum(0.9).build(&vs).unwrap();
        let config = TrainConfig::new(2)
            .with_batch_size(BATCH + 1)
            .with_seed(4)
            .with_schedule(Schedule::Cosine)
            .with_preprocess(densenet::Preprocess::new().with_size([36, 36]))
            .with_mode(densenet::nn::Mode::TrainFrozenNorms)
            .with_skip_non_finite()
            .with_execution(Execution::Fused)
            .with_precision(densenet::nn::Precision::EmulatedBFloat16);
        let mut second = Trainer::new(vs, model, optimizer, config)
            .unwrap()
            .with_metric(Confidence::default())
            .with_loss(|outputs: &Tensor, _: &Tensor| outputs.square().mean(tch::Kind::Float))
            .with_checkpoints(resuming(folder.path()).with_allowed_changes(allowed));
        match fit(&mut second, &other_train, &other_test) {
            Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) => {
                assert_eq!(differences.len(), 1, "{differences:?}")
            }
            other => panic!("{:?}: {other:?}", all[number]),
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_skipped_and_the_run_resumes_from_the_one_before() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let kind = Kind { execution: Execution::Auto, workers: 0, adamw: false, schedule: || Schedule::Constant };
    let folder = tempfile::tempdir().unwrap();
    fit(&mut trainer(kind, 1, folder.path()).with_checkpoints(checkpoints(folder.path())), &train, &test).unwrap();
    let newest = newest(folder.path());
    fs::write(&newest, b"damaged").unwrap();
    let resumed = Resumed::default();
    let trainer = trainer(kind, 1, folder.path()).with_callback(resumed.clone());
    fit(&mut trainer.with_checkpoints(resuming(folder.path())), &train, &test).unwrap();
    let (epoch, step, skipped) = resumed.0.borrow()[0].clone();
    assert_eq!((epoch, step, skipped.len()), (1, 3, 1));
    assert!(skipped[0].contains(newest.to_str().unwrap()), "{skipped:?}");
}

#[test]
fn a_folder_without_a_checkpoint_begins_a_new_run() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let kind = Kind { execution: Execution::Auto, workers: 0, adamw: false, schedule: || Schedule::Constant };
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(kind, 1, folder.path()).with_checkpoints(resuming(&folder.path().join("new")));
    assert_eq!(fit(&mut trainer, &train, &test).unwrap().epochs.len(), 1);
}
