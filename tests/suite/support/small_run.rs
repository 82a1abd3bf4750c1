//! A run small enough for a test: a net of some thousand weights, images of 16×16 pixels, a few steps.

use densenet::data::{Batch, Dataset, InMemoryDataset, Phase, SampleKey, SyntheticConfig, Targets};
use densenet::models::{DenseNet, Model};
use densenet::tch::{self, Device, nn::VarStore};
use densenet::train::{Callback, CheckpointConfig, Datasets, Event, History, Run};
use densenet::{DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

/// Four outputs, gray images; two blocks, so that 8×8 pixels leave one value per channel at the end.
pub fn net() -> DenseNetConfig {
    DenseNetConfig::new(4)
        .with_input_channels(1)
        .with_initial_channels(8)
        .with_growth_rate(4)
        .with_layers_per_block([2, 2])
}

/// Images that this net tells apart after some epochs.
pub fn images(len: usize, seed: u64) -> InMemoryDataset {
    SyntheticConfig::new(len).with_sample_shape([1, 16, 16]).with_classes(4).with_seed(seed).build().unwrap()
}

/// A network and its variables. Its initial weights follow from the configuration's seed.
pub fn built(net: &DenseNetConfig) -> (VarStore, DenseNet) {
    // Tests run side by side, and threads that wait for each other on a busy machine are slower than one.
    tch::set_num_threads(1);
    let vs = VarStore::new(Device::Cpu);
    let model = net.build(&vs.root()).unwrap();
    (vs, model)
}

pub fn trainer_of(net: &DenseNetConfig, learning_rate: f64, config: TrainConfig) -> Trainer<DenseNet> {
    let (vs, model) = built(net);
    let optimizer = SgdConfig::new(learning_rate).build(&vs).unwrap();
    Trainer::new(vs, model, optimizer, config).unwrap()
}

pub fn trainer(config: TrainConfig) -> Trainer<DenseNet> {
    trainer_of(&net(), 0.1, config)
}

/// Trains on one data set and reports on another.
pub fn fit<M: Model>(trainer: &mut Trainer<M>, train: &dyn Dataset, test: &dyn Dataset) -> Result<History> {
    trainer.fit(&Datasets::new(train).with_test(test))
}

/// Checkpoints of a new run, in a folder below this one.
pub fn checkpoints(folder: &Path) -> CheckpointConfig {
    CheckpointConfig::in_folder(folder.join("checkpoints"))
}

/// Checkpoints of a run that is resumed where there are any.
pub fn resuming(folder: &Path) -> CheckpointConfig {
    checkpoints(folder).with_resume()
}

/// What a run's callback saw, to be read after the run.
pub type Seen<T> = Rc<RefCell<Vec<T>>>;

/// A callback that calls a function.
pub struct Watch<F>(pub F);

impl<F: FnMut(&Event, &Run) -> Result<ControlFlow<()>>> Callback for Watch<F> {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        (self.0)(event, run)
    }
}

/// A place for what is seen, and a callback that puts there whatever the function makes of an event.
pub fn record<T: 'static>(
    mut see: impl FnMut(&Event, &Run) -> Option<T> + 'static,
) -> (Seen<T>, impl Callback + 'static) {
    let seen = Seen::default();
    let inside = seen.clone();
    let watch = Watch(move |event: &Event, run: &Run| {
        inside.borrow_mut().extend(see(event, run));
        Ok(ControlFlow::Continue(()))
    });
    (seen, watch)
}

/// All samples of a data set in memory with other targets.
pub fn with_targets(dataset: &dyn Dataset, targets: Targets, classes: &[&str]) -> InMemoryDataset {
    let key = |index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation };
    let keys: Vec<_> = (0..dataset.len()).map(key).collect();
    let batch = dataset.fetch(&keys).unwrap();
    InMemoryDataset::new(Batch::new(batch.sample_shape, batch.values, targets), classes).unwrap()
}
