//! A run that is stopped anywhere and goes on ends with the same bits. A binary of its own: dropout draws from libtorch's generator, which
//! is the whole process's.

use densenet::checkpoint::{Checkpoint, Store};
use densenet::data::{Dataset, Subset, ValidationSize};
use densenet::nn::{ConvBias, Dropout, Execution, LayerKind, StemConfig};
use densenet::optim::{AdamWConfig, Nesterov, Optimizer, SgdConfig};
use densenet::tch::{self, nn::VarStore};
use densenet::train::{
    Callback, CheckpointConfig, EarlyStop, Event, Flow, Run, SaveEvery, SaveWeights, StopHandle, Validation,
};
use densenet::{DenseNet, DenseNetConfig, Error, FashionMnist, Result, Split, TrainConfig, Trainer};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// Held by each test: they share libtorch's generator.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const SAMPLES: usize = 100;
const BATCH: usize = 16;
const HELD_OUT: usize = 20;
/// Of an epoch: 80 samples.
const STEPS: usize = 5;

/// The real data, a little of it. A test that cannot run without them says so and, in CI, fails.
fn data() -> Option<[Subset<FashionMnist>; 2]> {
    let open = |split, samples| FashionMnist::open(split).map(|dataset| Subset::first(dataset, samples));
    match (open(Split::Train, SAMPLES), open(Split::Test, 24)) {
        (Ok(train), Ok(test)) => Some([train, test]),
        (Err(error @ Error::DatasetNotFound { .. }), _) => {
            assert!(std::env::var_os("CI").is_none(), "the real data are needed in CI: {error}");
            eprintln!("not run: {error}");
            None
        }
        (train, test) => panic!("{:?} {:?}", train.err(), test.err()),
    }
}

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    execution: Execution,
    workers: usize,
    adamw: bool,
}

/// Asks for an end after so many steps of this process.
struct StopAfter(usize, StopHandle);

impl Callback for StopAfter {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<Flow> {
        if let Event::StepEnded { .. } = event {
            self.0 = self.0.wrapping_sub(1);
            if self.0 == 0 {
                self.1.stop();
            }
        }
        Ok(Flow::Continue)
    }
}

fn trainer(kind: Kind, epochs: usize, folder: &Path) -> Trainer<DenseNet> {
    tch::manual_seed(5);
    let vs = VarStore::new(tch::Device::Cpu);
    let net = DenseNetConfig::new(10)
        .with_input_channels(1)
        .with_initial_channels(6)
        .with_growth_rate(4)
        .with_layers_per_block([2, 1])
        .with_layer_kind(LayerKind::Plain)
        .with_stem(StemConfig::cifar().with_stride(2))
        .with_conv_bias(ConvBias::With)
        .with_dropout(Dropout::new(0.2));
    let model = net.build(&vs.root()).unwrap();
    let optimizer: Box<dyn Optimizer> = match kind.adamw {
        true => Box::new(AdamWConfig::new(0.01).build(&vs).unwrap()),
        false => Box::new(SgdConfig::new(0.05).with_momentum(0.9).with_nesterov(Nesterov::On).build(&vs).unwrap()),
    };
    let config = TrainConfig::new(epochs)
        .with_batch_size(BATCH)
        .with_seed(3)
        .with_workers(kind.workers)
        .with_validation(Validation::HoldOut(ValidationSize::Count(HELD_OUT)))
        .with_execution(kind.execution);
    let mut trainer = Trainer::new(vs, model, optimizer, config).unwrap();
    trainer.observe(EarlyStop::after(10)).observe(SaveWeights::to(folder.join("model.safetensors")));
    trainer
}

fn checkpoints(folder: &Path) -> CheckpointConfig {
    CheckpointConfig::in_folder(folder.join("checkpoints")).with_every(SaveEvery::Steps(3))
}

/// SHA-256 over all tensors and the state, but for wall times and the run's identity, of the newest checkpoint, and over the weights' file.
fn digest(folder: &Path) -> String {
    let found = Store::open(folder.join("checkpoints")).unwrap().newest().unwrap().unwrap();
    let Checkpoint { mut state, tensors } = found.checkpoint;
    state["progress"]["seconds"].take();
    state["progress"]["run_id"].take();
    for record in state["progress"]["history"]["epochs"].as_array_mut().unwrap() {
        record["train_seconds"].take();
        record["evaluation_seconds"].take();
    }
    let mut digest = Sha256::new();
    digest.update(Checkpoint { state, tensors }.to_bytes().unwrap());
    digest.update(fs::read(folder.join("model.safetensors")).unwrap());
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The uninterrupted run of two epochs.
fn whole(kind: Kind, [train, test]: &[Subset<FashionMnist>; 2]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(kind, 2, folder.path());
    trainer.save_checkpoints(checkpoints(folder.path())).unwrap();
    assert_eq!(trainer.fit(train, test).unwrap().epochs.len(), 2);
    drop(trainer);
    digest(folder.path())
}

#[test]
fn a_run_stopped_after_any_step_and_resumed_equals_the_uninterrupted_one() {
    let _alone = alone();
    let Some(data) = data() else { return };
    for execution in [Execution::Fused, Execution::Reference] {
        for (workers, adamw, threads) in [(0, false, 1), (1, false, 2), (4, true, 1)] {
            tch::set_num_threads(threads);
            let kind = Kind { execution, workers, adamw };
            let expected = whole(kind, &data);
            for stop in 1..2 * STEPS {
                let folder = tempfile::tempdir().unwrap();
                let mut first = trainer(kind, 2, folder.path());
                let handle = first.stop_handle();
                first.observe(StopAfter(stop, handle)).save_checkpoints(checkpoints(folder.path())).unwrap();
                first.fit(&data[0], &data[1]).unwrap();
                drop(first);
                let mut second = trainer(kind, 2, folder.path());
                assert!(second.resume_from(checkpoints(folder.path())).unwrap().is_empty());
                let history = second.fit(&data[0], &data[1]).unwrap();
                assert_eq!(history.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);
                drop(second);
                assert_eq!(digest(folder.path()), expected, "{kind:?}, stopped after step {stop}");
            }
        }
    }
}

#[test]
fn another_configuration_or_data_set_is_refused_by_name_unless_allowed() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let kind = Kind { execution: Execution::Auto, workers: 0, adamw: false };
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(kind, 1, folder.path());
    first.save_checkpoints(checkpoints(folder.path())).unwrap();
    first.fit(&train, &test).unwrap();
    match trainer(kind, 1, folder.path()).save_checkpoints(checkpoints(folder.path())) {
        Err(Error::FolderInUse { .. }) => {}
        other => panic!("{:?}", other.map(drop)),
    }
    drop(first);
    match trainer(kind, 1, folder.path()).save_checkpoints(checkpoints(folder.path())) {
        Err(Error::CheckpointsExist { .. }) => {}
        other => panic!("{:?}", other.map(drop)),
    }
    let resumed = |kind: Kind, epochs: usize, train: &dyn Dataset, allowed: &[&str]| {
        let mut trainer = trainer(kind, epochs, folder.path());
        let allowed = allowed.iter().map(|&field| field.to_owned()).collect();
        trainer.resume_from(checkpoints(folder.path()).with_allowed_changes(allowed)).unwrap();
        trainer.fit(train, &test).map(|history| history.epochs.len())
    };
    let differences = |outcome: Result<usize>| match outcome {
        Err(Error::ConfigMismatch { differences }) => differences.into_iter().map(|d| d.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(differences(resumed(kind, 2, &train, &[])), ["epochs"]);
    assert_eq!(differences(resumed(Kind { adamw: true, ..kind }, 1, &train, &[])), ["optimizer"]);
    let other = Subset::first(FashionMnist::open(Split::Test).unwrap(), SAMPLES);
    assert_eq!(differences(resumed(kind, 1, &other, &[])), ["training set"]);
    assert_eq!(resumed(kind, 1, &train, &[]).unwrap(), 1, "a finished run has nothing left to do");
    assert_eq!(resumed(Kind { workers: 2, ..kind }, 2, &train, &["epochs"]).unwrap(), 2);
}

#[test]
fn a_folder_without_a_checkpoint_begins_a_new_run() {
    let _alone = alone();
    let Some([train, test]) = data() else { return };
    let kind = Kind { execution: Execution::Auto, workers: 0, adamw: false };
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(kind, 1, folder.path());
    trainer.resume_from(folder.path().join("new")).unwrap();
    assert_eq!(trainer.fit(&train, &test).unwrap().epochs.len(), 1);
}
