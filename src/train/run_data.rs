//! The data of a run, checked before its first step.

use super::TrainConfig;
use crate::data::{Dataset, Loader, LoaderConfig};
use crate::models::Model;
use crate::nn::Mode;
use crate::{Error, Result};

/// What a run works on.
pub(super) struct RunData<'a> {
    pub train: &'a dyn Dataset,
    pub validation: Option<&'a dyn Dataset>,
    pub test: &'a dyn Dataset,
    pub loader: Loader,
    pub steps_per_epoch: usize,
}

impl<'a> RunData<'a> {
    /// Everything that can be known to go wrong is found here.
    pub fn check(
        config: &TrainConfig,
        model: &dyn Model,
        train: &'a dyn Dataset,
        validation: Option<&'a dyn Dataset>,
        test: &'a dyn Dataset,
    ) -> Result<Self> {
        if train.classes() != test.classes() {
            return Err(Error::ClassesDiffer { train: train.classes().to_vec(), test: test.classes().to_vec() });
        }
        check_batches(config, model, train, &config.train_loader(), config.train_mode())?;
        for dataset in validation.into_iter().chain([test]) {
            check_batches(config, model, dataset, &config.evaluation_loader(), Mode::Eval)?;
        }
        let loader = config.train_loader().build()?;
        let steps_per_epoch = loader.batch_count(train.len());
        Ok(RunData { train, validation, test, loader, steps_per_epoch })
    }
}

/// Whether the model takes every batch size that this data set will give, the last one too.
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
