//! The data of a run, checked before its first step.

use super::data_placement::Samples;
use super::loss::{CrossEntropy, checked_loss};
use super::mixing::probabilities;
use super::{Datasets, Loss, TrainConfig};
use crate::data::{Dataset, Loader, LoaderConfig, Phase, SampleKey, Targets, fetch};
use crate::error::{ConfigError, DataError, PredictionError, TrainingError, panic_message};
use crate::models::Model;
use crate::nn::Mode;
use crate::torch::{all_finite, no_grad};
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::{Device, Kind, Tensor};

/// The data sets of a run, and the loader of the training set.
pub(super) struct RunData<'a> {
    pub datasets: Datasets<'a>,
    pub samples: Samples,
    pub loader: Loader,
    pub steps_per_epoch: usize,
    /// Number of outputs of the model per sample, where these are one row.
    pub outputs: i64,
    /// A warning about the data, if any.
    pub warning: Option<String>,
}

impl<'a> RunData<'a> {
    /// Checks everything about the data that can be checked before the first step.
    pub fn check(
        config: &TrainConfig,
        model: &dyn Model,
        loss: &dyn Loss,
        device: Device,
        datasets: &Datasets<'a>,
    ) -> Result<Self> {
        let train = datasets.train;
        for (set, dataset) in datasets.evaluated() {
            if train.classes() != dataset.classes() {
                let (train, other) = (train.classes().to_vec(), dataset.classes().to_vec());
                return Err(Error::Data(DataError::ClassesDiffer { train, set, other }));
            }
        }
        let warning = check_classes(model, train)?;
        check_batches(config, model, train, &config.train_loader(), config.mode)?;
        for (_, dataset) in datasets.evaluated() {
            check_batches(config, model, dataset, &config.evaluation_loader(), Mode::Eval)?;
            let sample_shape = config.preprocess.output_shape(dataset.sample_shape())?;
            let shape: Vec<i64> = [1].into_iter().chain(sample_shape.iter().map(|&size| size as i64)).collect();
            config.test_time_augment.check(&shape)?;
        }
        let outputs = check_outputs(config, model, loss, device, train)?;
        let loader = config.train_loader().build()?;
        let steps_per_epoch = loader.batch_count(train.len());
        let samples = Samples::of(config.data_placement, train, config.seed, device)?;
        Ok(RunData { datasets: *datasets, samples, loader, steps_per_epoch, outputs, warning })
    }
}

impl RunData<'_> {
    /// Whether there is another batch in an epoch of which this many samples were consumed.
    pub fn has_batch_after(&self, samples: usize) -> bool {
        self.loader.batch_count(self.datasets.train.len() - samples) > 0
    }
}

/// Checks the model's outputs and the loss on the first samples of the training set, in evaluation mode. Returns the
/// number of outputs per sample.
fn check_outputs(
    config: &TrainConfig,
    model: &dyn Model,
    loss: &dyn Loss,
    device: Device,
    train: &dyn Dataset,
) -> Result<i64> {
    let key = |index| SampleKey { index, epoch: 0, seed: config.seed, phase: Phase::Evaluation };
    let keys: Vec<SampleKey> = (0..train.len().min(2)).map(key).collect();
    let batch = fetch(train, &keys)?;
    let (inputs, targets) = config.preprocess.tensors(&batch, device)?;
    let outputs = no_grad(|| model.forward(&inputs, &config.context(Mode::Eval)))?;
    let (shape, classes) = (outputs.size(), train.classes().len());
    if shape.first() != Some(&(keys.len() as i64)) {
        return Err(Error::Prediction(PredictionError::OutputShape { actual: shape, samples: keys.len() }));
    }
    // A single output for two classes is right for a binary loss, and not for cross-entropy.
    let takes_logits = loss.configuration() == CrossEntropy.configuration();
    if let (Targets::Classes(_), &[_, outputs]) = (&batch.targets, &shape[..])
        && (outputs as usize) < classes
        && (outputs > 1 || takes_logits)
    {
        return Err(Error::Config(ConfigError::TooFewOutputs { outputs: outputs as usize, classes }));
    }
    let value = no_grad(|| checked_loss(loss, &outputs, &targets))?.mean.double_value(&[]);
    match value.is_finite() {
        true => {}
        false if !all_finite(&[&inputs])? => return Err(Error::Training(TrainingError::NonFiniteInput { samples: 0 })),
        false => return Err(Error::Training(TrainingError::NonFiniteEvaluation { loss: value, samples: 0 })),
    }
    if !config.mixing.is_none() {
        check_mixing(config, loss, (&inputs, &targets), &outputs)?;
    }
    Ok(shape.get(1).copied().unwrap_or(1))
}

/// Checks that samples can be mixed: targets are classes, outputs are one row of at least two, and the loss takes
/// probabilities.
fn check_mixing(
    config: &TrainConfig,
    loss: &dyn Loss,
    (inputs, targets): (&Tensor, &Tensor),
    outputs: &Tensor,
) -> Result<()> {
    let mixing = config.mixing;
    let refused =
        |problem: String, expected| Err(Error::invalid_value("mixing", format!("{mixing:?} for {problem}"), expected));
    mixing.check_inputs(&inputs.size())?;
    if targets.kind() != Kind::Int64 {
        return refused("targets that are not classes".to_owned(), "None, or targets of class indices");
    }
    let classes = match outputs.size()[..] {
        [_, classes] if classes >= 2 => classes,
        _ => return refused(format!("outputs {:?}", outputs.size()), "None, or outputs [N, classes] of two or more"),
    };
    let targets = probabilities(targets, classes).map_err(Error::libtorch("targets as probabilities"))?;
    // A closure's errors are panics.
    let checked = catch_unwind(AssertUnwindSafe(|| no_grad(|| checked_loss(loss, outputs, &targets))));
    let problem = match checked {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.with_causes(),
        Err(panic) => panic_message(&*panic).to_owned(),
    };
    let expected = "None, or a loss that takes probabilities [N, classes] as targets";
    refused(format!("this loss, which fails with probabilities: {problem}"), expected)
}

/// Checks that the model has an output for every class of the data; returns a warning where it has more.
fn check_classes(model: &dyn Model, train: &dyn Dataset) -> Result<Option<String>> {
    let classes = train.classes().len();
    match model.classes() {
        Some(outputs) if classes > 0 && outputs < classes => {
            Err(Error::Config(ConfigError::TooFewOutputs { outputs, classes }))
        }
        Some(outputs) if classes > 0 && outputs > classes => Ok(Some(format!(
            "the model has {outputs} outputs, but the training set has {classes} classes: some outputs are never a target"
        ))),
        _ => Ok(None),
    }
}

/// Checks that the model supports every batch size of this data set, including that of the last batch.
fn check_batches(
    config: &TrainConfig,
    model: &dyn Model,
    dataset: &dyn Dataset,
    loader: &LoaderConfig,
    mode: Mode,
) -> Result<()> {
    let loader = loader.clone().build()?;
    loader.check_len(dataset.len())?;
    let sample_shape = config.preprocess.output_shape(dataset.sample_shape())?;
    for size in loader.batch_sizes(dataset.len()) {
        let shape: Vec<i64> = [size].iter().chain(&sample_shape).map(|&n| n as i64).collect();
        model.check_input(&shape, mode)?;
    }
    Ok(())
}
