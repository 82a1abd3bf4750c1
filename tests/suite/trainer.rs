//! Training and evaluation: what changes, what does not, and what the numbers mean.

use crate::small_run::{built, fit, images, net, record, trainer, with_targets};
use crate::variables::bits;
use densenet::data::{Batch, Dataset, InMemoryDataset, Targets, Values, split_validation};
use densenet::metrics::ClassPrediction;
use densenet::models::Model;
use densenet::models::ModuleModel;
use densenet::nn::{ForwardContext, Mode};
use densenet::predict::{PredictConfig, predict};
use densenet::tch::{Device, Kind, Reduction, Tensor, nn, nn::VarStore};
use densenet::train::{BatchLoss, Datasets, Event, Loss};
use densenet::{AdamWConfig, Result, SgdConfig, TrainConfig, Trainer};

/// A trainer after an epoch, so that its running statistics are not those of a new net.
fn trained() -> Trainer<densenet::DenseNet> {
    let mut trainer = trainer(TrainConfig::new(1).with_batch_size(16));
    fit(&mut trainer, &images(32, 0), &images(8, 1)).unwrap();
    trainer
}

#[test]
fn evaluation_changes_no_variable() {
    let trainer = trained();
    let before = bits(trainer.var_store());
    let evaluation = trainer.evaluate(&images(40, 2)).unwrap();
    assert_eq!(evaluation.predictions.len(), 40);
    assert!(bits(trainer.var_store()) == before);
    assert_eq!(trainer.evaluate(&images(40, 2)).unwrap(), evaluation);
}

#[test]
fn prediction_changes_no_variable_and_agrees_with_evaluation() {
    let trainer = trained();
    let before = bits(trainer.var_store());
    let test = images(40, 2);
    let config = PredictConfig::default().with_device(Device::Cpu).with_batch_size(7);
    let predictions = predict(trainer.model(), &test, &config).unwrap();
    assert_eq!(predictions.outputs.dim(), (40, 4));
    let x = Tensor::rand([3, 1, 16, 16], (Kind::Float, Device::Cpu));
    let logits = trainer.model().forward(&x, &ForwardContext::new(Mode::Eval)).unwrap();
    assert_eq!(logits.size(), [3, 4]);
    assert!(bits(trainer.var_store()) == before);

    let evaluated = trainer.evaluate(&test).unwrap().predictions;
    let classes = |all: &[Option<ClassPrediction>]| all.iter().map(|p| p.unwrap().class).collect::<Vec<_>>();
    assert_eq!(classes(&predictions.classes()), classes(&evaluated));
    for (row, prediction) in predictions.probabilities().rows().into_iter().zip(evaluated) {
        // Softmax in f32 here, in f64 there, of logits from batches of other sizes.
        let ClassPrediction { class, probability } = prediction.unwrap();
        assert!((f64::from(row[class]) - probability).abs() < 1e-4);
        assert!((row.sum() - 1.0).abs() < 1e-5);
    }
}

/// A model whose logits are its inputs; it has one variable, of which nothing depends but a sum of zeros.
fn identity(config: TrainConfig) -> Trainer<ModuleModel<nn::FuncT<'static>>> {
    let vs = VarStore::new(Device::Cpu);
    let weight = vs.root().zeros("weight", &[1]);
    let model = ModuleModel(nn::func_t(move |x, _| x + &weight * 0.0));
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    Trainer::new(vs, model, optimizer, config).unwrap()
}

#[test]
fn loss_and_accuracy_count_samples_not_batches() {
    // Logits (z, 0) of class 0: loss ln(1 + e^−z), right for z > 0. Two batches of two, and one sample in the last.
    let z = [1.0_f32, 2.0, 0.5, -1.0, -3.0];
    let values = Values::F32(z.iter().flat_map(|&z| [z, 0.0]).collect());
    let targets = Targets::Classes(vec![0; 5]);
    let dataset = InMemoryDataset::new(Batch::new([2], values, targets), &["a", "b"]).unwrap();
    let expected = z.iter().map(|&z| (-f64::from(z)).exp().ln_1p()).sum::<f64>() / 5.0;

    let mut trainer = identity(TrainConfig::new(1).with_batch_size(2));
    let history = fit(&mut trainer, &dataset, &dataset).unwrap();
    let record = history.last().unwrap();
    for metrics in [&record.train, record.test.as_ref().unwrap()] {
        // The loss of a batch is an f32.
        assert!((metrics.loss() - expected).abs() < 1e-6, "{} instead of {expected}", metrics.loss());
        assert_eq!((metrics.accuracy(), metrics.samples), (Some(0.6), 5));
    }
    let confusion = trainer.evaluate(&dataset).unwrap().confusion.unwrap();
    assert_eq!((confusion.count(0, 0), confusion.count(0, 1)), (3, 2));

    let mut trainer = identity(TrainConfig::new(1).with_batch_size(2).with_drop_last());
    let history = fit(&mut trainer, &dataset, &dataset).unwrap();
    let samples = history.last().map(|record| (record.train.samples, record.test.as_ref().unwrap().samples));
    assert_eq!(samples, Some((4, 5)), "the last batch is dropped in training only");
}

/// Weights after two epochs with dropout and a hold-out, and the losses of all steps.
fn run(seed: u64, workers: usize) -> (Vec<(String, Vec<u32>)>, Vec<u64>) {
    let config = TrainConfig::new(2).with_batch_size(12).with_seed(seed).with_workers(workers);
    let (losses, watch) = record(|event, _| match event {
        Event::StepEnded { loss, .. } => Some(loss.to_bits()),
        _ => None,
    });
    let mut trainer = trainer(config).with_callback(watch);
    let (all, test) = (images(48, 0), images(8, 1));
    let (train, validation) = split_validation(&all, 1.0 / 6.0, seed).unwrap();
    trainer.fit(&Datasets::new(&train).with_validation(&validation).with_test(&test)).unwrap();
    let losses = losses.borrow().clone();
    (bits(trainer.var_store()), losses)
}

#[test]
fn same_seed_gives_the_same_bits_whatever_the_number_of_workers() {
    let first = run(3, 0);
    assert_eq!(first.1.len(), 8, "40 samples in batches of 12, twice");
    for workers in [0, 1, 3] {
        assert!(run(3, workers) == first, "{workers} workers");
    }
    assert!(run(4, 0) != first);
}

#[test]
fn training_learns_and_the_history_says_so() {
    let mut trainer = trainer(TrainConfig::new(4).with_batch_size(16));
    let (train, test) = (images(160, 0), images(40, 1));
    let history = fit(&mut trainer, &train, &test).unwrap();
    assert_eq!(history.epochs.iter().map(|record| record.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let (first, last) = (&history.epochs[0], history.last().unwrap());
    assert!(
        last.train.loss() < first.train.loss() && last.test.as_ref().unwrap().accuracy().unwrap() > 0.5,
        "{history:?}"
    );
    assert_eq!(Some(trainer.evaluate(&test).unwrap().metrics), last.test);
    assert!(history.train_seconds() > 0.0 && history.samples_per_second() > 0.0);
}

/// Probabilities of classes: nine tenths for the right one.
fn soft(dataset: &dyn Dataset) -> InMemoryDataset {
    let rows = (0..dataset.len()).flat_map(|i| (0..4).map(move |class| if i % 4 == class { 0.9 } else { 0.1 / 3.0 }));
    with_targets(dataset, Targets::Values { data: rows.collect(), width: 4 }, &["a", "b", "c", "d"])
}

#[test]
fn soft_targets_train_without_an_accuracy() {
    let (train, test) = (soft(&images(64, 0)), soft(&images(16, 1)));
    for closure in [false, true] {
        let mut trainer = trainer(TrainConfig::new(3).with_batch_size(16));
        if closure {
            let loss = |outputs: &Tensor, targets: &Tensor| {
                -(outputs.log_softmax(-1, Kind::Float) * targets).sum(Kind::Float) / targets.size()[0] as f64
            };
            trainer = trainer.with_loss(loss);
        }
        let history = fit(&mut trainer, &train, &test).unwrap();
        let losses: Vec<f64> = history.epochs.iter().map(|record| record.train.loss()).collect();
        assert!(losses[2] < losses[0], "{losses:?}");
        let sets = history.epochs.iter().flat_map(|record| [Some(&record.train), record.test.as_ref()]);
        assert!(sets.flatten().all(|metrics| metrics.accuracy().is_none()));
        let evaluation = trainer.evaluate(&test).unwrap();
        assert!(evaluation.predictions.is_empty() && evaluation.confusion.is_none());
    }
}

#[test]
fn a_closure_trains_a_regression() {
    let brightness = |dataset: &dyn Dataset| {
        let data = (0..dataset.len()).map(|i| (i % 4) as f32).collect();
        with_targets(dataset, Targets::Values { data, width: 1 }, &[])
    };
    let mut one_output = net();
    one_output.classes = 1;
    let (vs, model) = built(&one_output);
    let optimizer = AdamWConfig::new(3e-3).build(&vs).unwrap();
    let squares = |outputs: &Tensor, targets: &Tensor| outputs.mse_loss(targets, Reduction::Mean);
    let config = TrainConfig::new(6).with_batch_size(16);
    let mut trainer = Trainer::new(vs, model, optimizer, config).unwrap().with_loss(squares);
    let (train, test) = (brightness(&images(96, 0)), brightness(&images(16, 1)));
    let history = fit(&mut trainer, &train, &test).unwrap();
    let losses: Vec<f64> = history.epochs.iter().map(|record| record.train.loss()).collect();
    // 1.25 is the variance of the targets: what a constant prediction reaches at best.
    assert!(losses[0] > losses[5] && losses[5] < 1.0, "{losses:?}");
    assert_eq!(history.last().unwrap().test.as_ref().unwrap().accuracy(), None);
}

/// Cross-entropy with a weight per class.
struct ByClass([f32; 4]);

impl Loss for ByClass {
    fn compute(&self, outputs: &Tensor, targets: &Tensor) -> Result<BatchLoss> {
        let weights = Tensor::from_slice(&self.0);
        let mean = outputs.cross_entropy_loss(targets, Some(&weights), Reduction::Mean, -100, 0.0);
        Ok(BatchLoss { mean, weight: weights.index_select(0, targets).sum(Kind::Double).double_value(&[]) })
    }
}

#[test]
fn a_loss_with_class_weights_is_the_same_for_every_batch_size() {
    let data = images(40, 2);
    let losses = [1, 3, 7, 16, 40].map(|batch_size| {
        let trainer = trainer(TrainConfig::new(1).with_batch_size(batch_size)).with_loss(ByClass([1.0, 0.0, 0.1, 8.0]));
        trainer.evaluate(&data).unwrap().metrics.loss()
    });
    // The loss of a batch is an f32.
    assert!(losses.iter().all(|loss| (loss - losses[4]).abs() < 1e-5), "{losses:?}");
    let plain = trainer(TrainConfig::new(1)).evaluate(&data).unwrap().metrics.loss();
    assert!((plain - losses[4]).abs() > 0.01, "the weights matter: {plain}, {losses:?}");
}

#[test]
fn one_logit_per_sample_has_neither_accuracy_nor_predictions() {
    let vs = VarStore::new(Device::Cpu);
    let layer = nn::linear(vs.root(), 256, 1, Default::default());
    let model = ModuleModel(nn::func_t(move |x, _| x.flatten(1, -1).apply(&layer)));
    let optimizer = SgdConfig::new(0.01).build(&vs).unwrap();
    let loss = |outputs: &Tensor, targets: &Tensor| {
        let is_third = targets.ge(2).to_kind(Kind::Float).unsqueeze(-1);
        outputs.binary_cross_entropy_with_logits::<Tensor>(&is_third, None, None, Reduction::Mean)
    };
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1)).unwrap().with_loss(loss);
    let history = fit(&mut trainer, &images(16, 0), &images(8, 1)).unwrap();
    let record = history.last().unwrap();
    assert_eq!((record.train.accuracy(), record.test.as_ref().unwrap().accuracy()), (None, None));
    let evaluation = trainer.evaluate(&images(8, 1)).unwrap();
    assert!(evaluation.predictions.is_empty() && evaluation.confusion.is_none());
}

#[test]
fn a_loss_function_has_a_configuration() {
    fn of(loss: impl Loss) -> String {
        loss.configuration().to_string()
    }
    let mine = of(ByClass([1.0; 4]));
    assert!(mine.contains("ByClass"), "{mine}");
    let closure = of(|outputs: &Tensor, _: &Tensor| outputs.mean(Kind::Float));
    assert!(closure.contains("a_loss_function_has_a_configuration"), "{closure}");
}
