//! MixUp and CutMix in runs: exact after a resume, and typed errors where they cannot be.

use crate::small_run::{checkpoints, fit, images, resuming, trainer, with_targets};
use crate::variables::bits;
use densenet::data::augment::{Augment, RandomHorizontalFlip, RandomShift};
use densenet::data::{Augmented, Dataset, InMemoryDataset, Targets};
use densenet::error::ConfigError;
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::models::ModuleModel;
use densenet::tch::nn::{self, Module, VarStore};
use densenet::tch::{Device, Kind, Reduction, Tensor};
use densenet::train::{DataPlacement, Datasets, Event, Mixing};
use densenet::{Error, Result, SgdConfig, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const EITHER: Mixing = Mixing::Either { mix_up_alpha: 0.5, cut_mix_alpha: 1.0 };

fn config(mixing: Mixing) -> TrainConfig {
    TrainConfig::new(2).with_batch_size(8).with_seed(3).with_mixing(mixing)
}

fn augmented(len: usize) -> Augmented<InMemoryDataset> {
    let augment = Augment::new().with(RandomShift::new(2)).with(RandomHorizontalFlip::new());
    Augmented::new(images(len, 0), augment).unwrap()
}

#[test]
fn a_mixed_and_augmented_run_is_the_same_after_an_interruption_in_an_epoch() {
    let (train, test) = (augmented(44), images(12, 1));
    let mut whole = trainer(config(EITHER));
    let expected = fit(&mut whole, &train, &test).unwrap();
    for workers in [0, 3] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = trainer(config(EITHER).with_workers(workers)).with_checkpoints(checkpoints(folder.path()));
        let stop = first.stop_handle();
        first = first.with_callback(crate::small_run::Watch(move |event: &Event, _: &densenet::train::Run| {
            if matches!(event, Event::StepEnded { epoch: 1, step: 4, .. }) {
                stop.stop();
            }
            Ok(ControlFlow::Continue(()))
        }));
        assert_eq!(fit(&mut first, &train, &test).unwrap().epochs.len(), 0);
        drop(first);
        let allowed = resuming(folder.path()).with_allowed_changes(vec![densenet::train::Change::Callbacks]);
        let mut second = trainer(config(EITHER).with_workers(workers)).with_checkpoints(allowed);
        let history = fit(&mut second, &train, &test).unwrap();
        assert!(bits(second.var_store()) == bits(whole.var_store()), "{workers} workers");
        for (own, expected) in history.epochs.iter().zip(&expected.epochs) {
            assert_eq!((&own.train, &own.test), (&expected.train, &expected.test));
        }
    }
}

#[test]
fn mixing_changes_a_run_and_neither_sync_interval_nor_data_placement_changes_it() {
    let (train, test) = (images(44, 0), images(12, 1));
    let run = |config: TrainConfig| {
        let mut trainer = trainer(config);
        let history = fit(&mut trainer, &train, &test).unwrap();
        (bits(trainer.var_store()), history.epochs.iter().map(|epoch| epoch.train.clone()).collect::<Vec<_>>())
    };
    let plain = run(config(Mixing::None));
    let mixings = [Mixing::MixUp { alpha: 1.0 }, Mixing::CutMix { alpha: 1.0 }, EITHER];
    let runs = mixings.map(|mixing| {
        let expected = run(config(mixing));
        assert!(run(config(mixing).with_sync_interval(4)) == expected);
        assert!(run(config(mixing).with_data_placement(DataPlacement::Device)) == expected);
        assert!(run(config(mixing).with_seed(4)) != expected);
        assert!(expected.0 != plain.0, "{mixing:?}");
        expected
    });
    assert!(runs[0].0 != runs[1].0);
}

/// Checks the targets of training and evaluation; counts batches of either.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kinds {
    mixed: usize,
    classes: usize,
}

impl Metric for Kinds {
    fn name(&self) -> String {
        "mixed_batches".to_owned()
    }
    fn direction(&self) -> Direction {
        Direction::Maximize
    }
    fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        let classes = batch.class_targets().unwrap();
        assert_eq!((classes.kind(), classes.size()), (Kind::Int64, vec![batch.samples() as i64]));
        if batch.is_classification() {
            self.classes += 1;
            return Ok(());
        }
        self.mixed += 1;
        // Four outputs: one more than there are classes.
        assert_eq!(batch.targets.size(), [batch.samples() as i64, 4]);
        let sums = batch.targets.sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
        // λ and 1 − λ, each rounded to f32.
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(batch.targets.slice(1, 3, 4, 1).abs().max().double_value(&[]), 0.0);
        Ok(())
    }
    fn merge(&mut self, other: &Self) {
        self.mixed += other.mixed;
        self.classes += other.classes;
    }
    fn compute(&self) -> Option<f64> {
        Some(self.mixed as f64 / (self.mixed + self.classes) as f64)
    }
}

#[test]
fn targets_are_probabilities_of_all_outputs_in_training_and_classes_in_evaluation() {
    let three = |len, seed| {
        let all = images(len, seed);
        let Targets::Classes(classes) = all.targets().unwrap() else { panic!("classes") };
        with_targets(&all, Targets::Classes(classes.iter().map(|class| class % 3).collect()), &["a", "b", "c"])
    };
    for interval in [1, 3] {
        let mut trainer = trainer(config(EITHER).with_sync_interval(interval)).with_metric(Kinds::default());
        let history = fit(&mut trainer, &three(24, 0), &three(12, 1)).unwrap();
        let epoch = history.last().unwrap();
        assert_eq!(epoch.train.get("mixed_batches"), Some(1.0));
        assert_eq!(epoch.test.as_ref().unwrap().get("mixed_batches"), Some(0.0));
        assert!(epoch.train.accuracy().is_some());
    }
}

/// The error of a run with this mixing, whose model ends in a linear layer.
fn refused(mixing: Mixing, train: &dyn Dataset, outputs: i64, loss: Option<fn(&Tensor, &Tensor) -> Tensor>) -> Error {
    let vs = VarStore::new(Device::Cpu);
    let inputs = train.sample_shape().iter().product::<usize>() as i64;
    let layer = nn::linear(vs.root(), inputs, outputs, Default::default());
    let model = ModuleModel(nn::seq_t().add_fn(move |x| layer.forward(&x.flatten(1, -1))));
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    let mut trainer = Trainer::new(vs, model, optimizer, config(mixing)).unwrap();
    if let Some(loss) = loss {
        trainer = trainer.with_loss(loss);
    }
    let before = bits(trainer.var_store());
    let error = trainer.fit(&Datasets::new(train)).expect_err("a run that cannot be");
    assert!(bits(trainer.var_store()) == before);
    error
}

#[test]
fn what_cannot_be_mixed_is_a_typed_error_before_the_first_step() {
    let (mix_up, cut_mix) = (Mixing::MixUp { alpha: 1.0 }, Mixing::CutMix { alpha: 1.0 });
    let values = Targets::Values { data: vec![0.5; 16], width: 1 };
    let regression = with_targets(&images(16, 0), values, &[]);
    let squares = |outputs: &Tensor, targets: &Tensor| (outputs - targets).square().mean(Kind::Float);
    let message = refused(mix_up, &regression, 1, Some(squares)).to_string();
    assert_eq!(
        message,
        "mixing is MixUp { alpha: 1.0 } for targets that are not classes, but has to be None, or targets of class indices"
    );

    let indices_only = |outputs: &Tensor, classes: &Tensor| {
        outputs.log_softmax(-1, Kind::Float).g_nll_loss::<Tensor>(classes, None, Reduction::Mean, -100)
    };
    let message = refused(mix_up, &images(16, 0), 4, Some(indices_only)).to_string();
    let expected = "but has to be None, or a loss that takes probabilities [N, classes] as targets";
    assert!(message.contains("which fails with probabilities:") && message.ends_with(expected), "{message}");

    let flat = densenet::ndarray::Array2::<u8>::zeros([8, 16]);
    let flat = InMemoryDataset::from_array(flat, vec![0; 8], &["a", "b"]).unwrap();
    let message = refused(cut_mix, &flat, 2, None).to_string();
    assert_eq!(message, "a sample has the shape [16], but is to have [C, H, W], which CutMix needs");

    for alpha in [0.0, -1.0, f64::NAN, 1e9] {
        for mixing in [
            Mixing::MixUp { alpha },
            Mixing::CutMix { alpha },
            Mixing::Either { mix_up_alpha: 1.0, cut_mix_alpha: alpha },
        ] {
            let error = built(mixing).err().expect("a parameter out of range");
            assert!(
                matches!(error, Error::Config(ConfigError::InvalidValue { field: "alpha of the mixing", .. })),
                "{error:?}"
            );
        }
    }
}

fn built(mixing: Mixing) -> Result<Trainer<densenet::DenseNet>> {
    let (vs, model) = crate::small_run::built(&crate::small_run::net());
    let optimizer = SgdConfig::new(0.1).build(&vs)?;
    Trainer::new(vs, model, optimizer, config(mixing))
}
