//! Runs that cannot be: a typed error, before the first step where it can be known by then, and no weight touched.

use crate::datasets::Changed;
use crate::small_run::{fit, images, net, record, trainer, trainer_of, with_targets};
use crate::variables::{bits, named_variables};
use densenet::data::{Dataset, InMemoryDataset, Preprocess, SyntheticConfig};
use densenet::data::{Targets, split_validation};
use densenet::error::{ConfigError, DataError, InputError, PredictionError, TrainingError};
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::models::{Model, ModuleModel};
use densenet::nn::ForwardContext;
use densenet::tch::nn::{self, VarStore};
use densenet::tch::{Device, Kind, Tensor};
use densenet::train::{BatchLoss, CheckpointConfig, Datasets, EarlyStop, Event, Loss, Monitor, SaveWeights};
use densenet::{DenseNet, Error, Result, SgdConfig, TrainConfig, Trainer};
use std::cell::Cell;

fn config() -> TrainConfig {
    TrainConfig::new(2).with_batch_size(16)
}

fn sized(len: usize, shape: [usize; 3], classes: usize) -> InMemoryDataset {
    SyntheticConfig::new(len).with_sample_shape(shape).with_classes(classes).build().unwrap()
}

/// The error of a run that called no callback and left all variables as they were.
fn refused(config: TrainConfig, train: &dyn Dataset, test: &dyn Dataset) -> Error {
    refused_sets(config, &Datasets::new(train).with_test(test))
}

fn refused_sets(config: TrainConfig, datasets: &Datasets) -> Error {
    let (events, watch) = record(|event, _| Some(format!("{event:?}")));
    let mut trainer = trainer(config).with_callback(watch);
    let before = bits(trainer.var_store());
    let error = trainer.fit(datasets).expect_err("a run that cannot be");
    assert!(events.borrow().is_empty(), "{:?}", events.borrow());
    assert!(bits(trainer.var_store()) == before);
    error
}

#[test]
fn last_batch_of_one_is_refused_where_it_leaves_one_value_per_channel() {
    let tiny = |len| sized(len, [1, 8, 8], 4);
    let named = |error| match error {
        Error::Input(InputError::OneValuePerChannel { batch: 1, height: 8, width: 8, layer }) => layer,
        other => panic!("{other:?}"),
    };
    let layer = "features.denseblock2.denselayer1.norm1";
    assert_eq!(named(refused(config(), &tiny(17), &tiny(4))), layer);
    assert_eq!(named(refused(config().with_batch_size(1), &tiny(4), &tiny(4))), layer);
    let all = tiny(24);
    let (train, validation) = split_validation(&all, 7.0 / 24.0, 0).unwrap();
    let sets = Datasets::new(&train).with_validation(&validation);
    assert_eq!(named(refused_sets(config(), &sets)), layer);

    // The same samples without the last one, in other batches, or as a test set.
    fit(&mut trainer(config().with_drop_last()), &tiny(17), &tiny(17)).unwrap();
    fit(&mut trainer(config().with_batch_size(15)), &tiny(17), &tiny(1)).unwrap();
    // Larger images leave more than one value.
    fit(&mut trainer(config()), &images(17, 0), &images(1, 1)).unwrap();
}

#[test]
fn images_that_do_not_fit_the_network_are_refused() {
    let small =
        |error| matches!(error, Error::Input(InputError::InputTooSmall { height: 4, width: 4, smallest: 5, .. }));
    assert!(small(refused(config(), &sized(16, [1, 4, 4], 4), &images(4, 1))));
    assert!(small(refused(config(), &images(16, 0), &sized(4, [1, 4, 4], 4))));
    let resized = config().with_preprocess(Preprocess::new().with_size([4, 4]));
    assert!(small(refused(resized, &images(16, 0), &images(4, 1))));

    match refused(config(), &sized(16, [3, 16, 16], 4), &images(4, 1)) {
        Error::Input(InputError::InputShape { actual, expected }) => {
            assert_eq!((actual, expected.as_str()), (vec![16, 3, 16, 16], "[N, 1, H, W], channels first"))
        }
        other => panic!("{other:?}"),
    }
    let none = config().with_preprocess(Preprocess::new().with_size([0, 16]));
    assert!(matches!(
        refused(none, &images(16, 0), &images(4, 1)),
        Error::Config(ConfigError::InvalidValue { field: "size", .. })
    ));
}

#[test]
fn data_sets_without_samples_are_refused() {
    for (train, test) in [(0, 4), (16, 0)] {
        assert!(matches!(refused(config(), &images(train, 0), &images(test, 1)), Error::Data(DataError::EmptyDataset)));
    }
    assert!(matches!(trainer(config()).evaluate(&images(0, 0)), Err(Error::Data(DataError::EmptyDataset))));
    let (train, none) = (images(16, 0), images(0, 1));
    let sets = Datasets::new(&train).with_validation(&none);
    assert!(matches!(refused_sets(config(), &sets), Error::Data(DataError::EmptyDataset)));
    assert!(matches!(
        split_validation(&train, 0.99, 0).map(drop),
        Err(Error::Data(DataError::EmptySplit { samples: 16, validation: 16 }))
    ));
}

#[test]
fn dropping_the_only_batch_is_refused_with_both_numbers() {
    let error = refused(config().with_drop_last(), &images(15, 0), &images(4, 1));
    assert!(matches!(error, Error::Config(ConfigError::InvalidValue { field: "batch size", .. })), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("16") && text.contains("15"), "{text}");
}

#[test]
fn validation_and_test_set_of_other_classes_than_the_training_set_are_refused() {
    let (train, three) = (images(16, 0), sized(4, [1, 16, 16], 3));
    let sets = Datasets::new(&train);
    for (sets, name) in
        [(sets.with_test(&three), "test set"), (sets.with_validation(&three).with_test(&train), "validation set")]
    {
        match refused_sets(config(), &sets) {
            Error::Data(DataError::ClassesDiffer { train, set, other }) => {
                assert_eq!((train.len(), set, other.len()), (4, name, 3))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A network that says how many classes its outputs tell apart.
struct Telling(DenseNet, Option<usize>);

impl Model for Telling {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        self.0.forward(x, ctx)
    }

    fn classes(&self) -> Option<usize> {
        self.1
    }
}

fn telling(classes: Option<usize>) -> Trainer<Telling> {
    let (vs, model, optimizer) = trainer(config()).into_parts();
    Trainer::new(vs, Telling(model, classes), optimizer, config()).unwrap()
}

#[test]
fn fewer_outputs_than_classes_are_refused_and_more_are_a_warning() {
    let five = sized(20, [1, 16, 16], 5);
    let (events, watch) = record(|_, _| Some(()));
    let error = fit(&mut telling(Some(4)).with_callback(watch), &five, &five).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::TooFewOutputs { outputs: 4, classes: 5 })), "{error:?}");
    assert!(events.borrow().is_empty());

    for (outputs, warned) in [(Some(4), false), (Some(9), true), (None, false)] {
        let (warnings, watch) = record(|event, _| match event {
            Event::Warning { message } => Some(message.to_string()),
            _ => None,
        });
        fit(&mut telling(outputs).with_callback(watch), &images(16, 0), &images(4, 1)).unwrap();
        let warnings = warnings.borrow();
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        assert!(warnings.iter().all(|text| text.contains("9 outputs") && text.contains("4 classes")), "{warnings:?}");
    }
}

/// A metric of any name without a value.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Named(String);

impl Metric for Named {
    fn name(&self) -> String {
        self.0.clone()
    }
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn update(&mut self, _: &BatchOutput) -> Result<()> {
        Ok(())
    }
    fn merge(&mut self, _: &Self) {}
    fn compute(&self) -> Option<f64> {
        None
    }
}

#[test]
fn a_metric_that_cannot_be_named_in_a_column_or_told_from_another_is_refused() {
    for name in ["", "a,b", "a\nb", "\"a\"", "loss", "samples"] {
        let mut trainer = trainer(config()).with_metric(Named(name.to_owned()));
        match fit(&mut trainer, &images(16, 0), &images(4, 1)) {
            Err(Error::Config(ConfigError::InvalidValue { field: "name of a metric", value, .. })) => {
                assert!(value.contains(&format!("{name:?}")), "{value}");
            }
            other => panic!("{name:?}: {other:?}"),
        }
    }
}

#[test]
fn a_monitor_of_an_unknown_metric_or_the_wrong_direction_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("best.safetensors");
    let refused = |monitor: Monitor| {
        let own = || trainer(config()).with_metric(Named("own".to_owned()));
        let trainers = [
            own().with_callback(EarlyStop::after(1).with_monitor(monitor.clone())),
            own().with_callback(SaveWeights::best_to(&file, monitor.clone())),
            own().with_checkpoints(CheckpointConfig::in_folder(folder.path()).with_keep_best(1, monitor.clone())),
        ];
        trainers.map(|mut trainer| {
            let before = bits(trainer.var_store());
            let (train, validation) = (images(16, 0), images(4, 1));
            let error = trainer.fit(&Datasets::new(&train).with_validation(&validation)).unwrap_err();
            assert!(bits(trainer.var_store()) == before, "{error}");
            error
        })
    };
    for error in refused(Monitor::max("top5")) {
        assert!(error.to_string().contains("this run has loss, accuracy, own"), "{error}");
        assert!(matches!(error, Error::Config(ConfigError::UnknownMetric { .. })), "{error:?}");
    }
    for error in refused(Monitor::min("accuracy")) {
        assert!(error.to_string().contains("monitor is the minimum of accuracy"), "{error}");
    }
    assert!(!file.exists());
}

#[test]
fn a_class_beyond_the_outputs_is_an_error_and_no_panic() {
    let five = || sized(20, [1, 16, 16], 5);
    // With a loss that looks at the classes, and with one that does not.
    let blind = telling(None).with_loss(|outputs: &Tensor, _: &Tensor| outputs.square().mean(Kind::Float));
    for mut trainer in [telling(None), blind] {
        match fit(&mut trainer, &five(), &five()) {
            Err(Error::Config(ConfigError::TooFewOutputs { outputs: 4, classes: 5 })) => {}
            other => panic!("{other:?}"),
        }
        let error = trainer.evaluate(&five()).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

/// The names and bits of what is trained.
fn weights(trainer: &Trainer<DenseNet>) -> Vec<(String, Vec<u32>)> {
    let trained: Vec<_> = named_variables(trainer.var_store()).into_iter().map(|v| v.trainable).collect();
    bits(trainer.var_store()).into_iter().zip(trained).filter_map(|(v, trained)| trained.then_some(v)).collect()
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_before_its_update() {
    for (bad, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        // The two first epochs have two steps each; every step and every batch of evaluation computes the loss once.
        let calls = Cell::new(0);
        let loss = move |outputs: &Tensor, _: &Tensor| {
            calls.set(calls.get() + i32::from(outputs.requires_grad()));
            outputs.square().mean(Kind::Float) * if calls.get() == 4 { bad } else { 1.0 }
        };
        let (seen, watch) = record(|event, run| match event {
            Event::StepEnded { epoch, step, .. } => Some((*epoch, *step, bits(run.vs))),
            Event::FitEnded { .. } => panic!("a failed run has no end"),
            _ => None,
        });
        let mut trainer = trainer(TrainConfig::new(5).with_batch_size(8)).with_loss(loss).with_callback(watch);
        let error = fit(&mut trainer, &images(16, 0), &images(8, 1)).unwrap_err();
        let Error::Training(TrainingError::NonFiniteLoss { loss, epoch: 2, step: 2 }) = error else {
            panic!("{error:?}")
        };
        assert!(loss.is_nan() == bad.is_nan() && !loss.is_finite());
        assert!(error.to_string().starts_with(&format!("the loss is {word} in step 2 of epoch 2")), "{error}");

        let seen = seen.borrow();
        let (epoch, step, last) = seen.last().unwrap();
        assert_eq!((*epoch, *step, seen.len()), (2, 1, 3));
        let trained = weights(&trainer);
        assert!(trained.iter().all(|variable| last.contains(variable)));
        assert!(bits(trainer.var_store()) == *last, "the step's running statistics are gone too");
        assert!(trained.iter().all(|(_, bits)| bits.iter().all(|&bits| f32::from_bits(bits).is_finite())));
    }
}

#[test]
fn a_learning_rate_that_blows_up_is_named_as_the_cause() {
    let mut trainer = trainer_of(&net(), 1e30, config());
    let error = fit(&mut trainer, &images(64, 0), &images(8, 1)).unwrap_err();
    assert!(matches!(error, Error::Training(TrainingError::NonFiniteLoss { epoch: 1, step: 2.., .. })), "{error:?}");
    assert!(error.to_string().contains("learning rate"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_in_evaluation_names_the_batch() {
    let calls = Cell::new(0);
    let loss = move |outputs: &Tensor, _: &Tensor| {
        calls.set(calls.get() + 1);
        outputs.square().mean(Kind::Float) * if calls.get() == 3 { f64::NAN } else { 1.0 }
    };
    let trainer = trainer(config()).with_loss(loss);
    match trainer.evaluate(&images(40, 1)) {
        Err(Error::Training(TrainingError::NonFiniteEvaluation { loss, samples: 32 })) => assert!(loss.is_nan()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_loss_that_is_no_scalar_and_one_that_fails_end_the_run_with_their_error() {
    let mut rows = trainer(config()).with_loss(|outputs: &Tensor, _: &Tensor| outputs.square());
    match fit(&mut rows, &images(16, 0), &images(4, 1)) {
        Err(Error::Training(TrainingError::LossShape { shape })) => assert_eq!(shape, [2, 4]),
        other => panic!("{other:?}"),
    }
    struct Failing;
    impl Loss for Failing {
        fn compute(&self, _: &Tensor, _: &Tensor) -> Result<BatchLoss> {
            Err(Error::other("my loss fails"))
        }
    }
    let mut failing = trainer(config()).with_loss(Failing);
    let error = fit(&mut failing, &images(16, 0), &images(4, 1)).unwrap_err();
    assert!(matches!(&error, Error::Other(own) if own.to_string() == "my loss fails"), "{error:?}");
    // A loss that does not depend on any weight has no gradient.
    let constant = |_: &Tensor, _: &Tensor| Tensor::from(1.0_f32);
    let error = fit(&mut trainer(config()).with_loss(constant), &images(16, 0), &images(4, 1)).unwrap_err();
    assert!(matches!(error, Error::Libtorch { what: "backward pass", .. }), "{error:?}");
}

#[test]
fn an_unavailable_sample_ends_the_run_with_its_error() {
    let holed = Changed::new(images(32, 0), |keys, _| match keys.iter().find(|key| key.index == 5 && key.epoch == 1) {
        Some(key) => Err(Error::Data(DataError::SampleUnavailable { index: key.index, source: "lost".into() })),
        None => Ok(()),
    });
    for workers in [0, 2] {
        let (epochs, watch) = record(|event, _| matches!(event, Event::EpochEnded { .. }).then_some(()));
        let mut trainer = trainer(config().with_workers(workers).with_batch_size(4)).with_callback(watch);
        let error = fit(&mut trainer, &holed, &images(4, 1)).unwrap_err();
        assert!(matches!(error, Error::Data(DataError::SampleUnavailable { index: 5, .. })), "{error:?}");
        assert_eq!(epochs.borrow().len(), 1);
    }
}

#[test]
fn targets_that_the_loss_cannot_take_are_an_error_and_no_panic() {
    let data = vec![0.5; 3 * 16];
    let three = with_targets(&images(16, 0), Targets::Values { data, width: 3 }, &[]);
    let error = fit(&mut trainer(config()), &three, &three).unwrap_err();
    assert!(matches!(error, Error::Libtorch { what: "cross-entropy", .. }), "{error:?}");
    // The first line of libtorch's text, without the places in its source.
    let text = error.to_string();
    let reason = text.strip_prefix("cross-entropy: libtorch says: ").unwrap();
    assert!(reason.len() > 10 && !text.contains('\n') && !text.contains("Exception raised"), "{text}");
}

#[test]
fn outputs_without_a_row_per_sample_are_an_error_before_the_first_step() {
    let vs = VarStore::new(Device::Cpu);
    let weight = vs.root().zeros("weight", &[1]);
    let summed = nn::func_t(move |x, _| x.sum(Kind::Float).view([1, 1]) + &weight);
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    let (made, watch) = record(|event, _| matches!(event, Event::StepEnded { .. }).then_some(()));
    let mut trainer = Trainer::new(vs, ModuleModel(summed), optimizer, config()).unwrap().with_callback(watch);
    match fit(&mut trainer, &images(16, 0), &images(4, 1)) {
        Err(Error::Prediction(PredictionError::OutputShape { actual, samples: 2 })) => assert_eq!(actual, [1, 1]),
        other => panic!("{other:?}"),
    }
    assert!(made.borrow().is_empty());
}
