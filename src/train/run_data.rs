//! The data of a run, checked before its first step.

use super::{Datasets, TrainConfig};
use crate::data::{Dataset, Loader, LoaderConfig};
use crate::error::{ConfigError, DataError};
use crate::models::Model;
use crate::nn::Mode;
use crate::{Error, Result};

/// The data sets of a run, and the loader of the training set.
pub(super) struct RunData<'a> {
    pub datasets: Datasets<'a>,
    pub loader: Loader,
    pub steps_per_epoch: usize,
    /// A warning about the data, if any.
    pub warning: Option<String>,
}

impl<'a> RunData<'a> {
    /// Checks everything about the data that can be checked before the first step.
    pub fn check(config: &TrainConfig, model: &dyn Model, datasets: &Datasets<'a>) -> Result<Self> {
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
        }
        let loader = config.train_loader().build()?;
        let steps_per_epoch = loader.batch_count(train.len());
        Ok(RunData { datasets: *datasets, loader, steps_per_epoch, warning })
    }
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
