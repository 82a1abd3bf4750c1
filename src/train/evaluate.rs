//! Evaluation of a model on a data set.

use super::loss::checked_loss;
use super::{BatchLoss, Loss, TestTimeAugment, TrainConfig};
use crate::data::{Dataset, LoaderConfig, Preprocess, SkippedSample};
use crate::error::{BatchProblem, DataError, TrainingError};
use crate::metrics::{BatchOutput, ClassPrediction, ConfusionMatrix, MetricSet, Metrics, class_predictions};
use crate::models::Model;
use crate::nn::{ForwardContext, Mode};
use crate::torch::{all_finite, no_grad};
use crate::{Error, Result};
use std::thread;
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// Metrics, predictions and confusion matrix of a model on a data set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The values of the run's metrics.
    pub metrics: Metrics,
    /// The predicted classes in the order of the data set, `None` for a sample whose outputs have NaN; empty where the
    /// targets are not classes.
    pub predictions: Vec<Option<ClassPrediction>>,
    /// The true classes, as many as there are predictions.
    pub targets: Vec<usize>,
    /// The confusion matrix; `None` where the targets are not classes.
    pub confusion: Option<ConfusionMatrix>,
    /// Samples that could not be read, and whose places others took: they were evaluated in their stead.
    pub skipped: Vec<SkippedSample>,
}

/// A model in evaluation mode with the preprocessing of its inputs.
pub(crate) struct Inference<'a> {
    pub model: &'a dyn Model,
    pub preprocess: &'a Preprocess,
    pub loader: LoaderConfig,
    pub device: Device,
    pub context: ForwardContext,
    pub test_time_augment: TestTimeAugment,
}

impl<'a> Inference<'a> {
    /// Returns the inference for the evaluations of a run.
    pub(super) fn of_run(config: &'a TrainConfig, model: &'a dyn Model, vs: &VarStore) -> Self {
        Inference {
            model,
            preprocess: &config.preprocess,
            loader: config.evaluation_loader(),
            device: vs.device(),
            context: config.context(Mode::Eval),
            test_time_augment: config.test_time_augment,
        }
    }
}

/// A condition that ends an evaluation before its next batch.
type Stop<'a> = &'a dyn Fn() -> bool;

impl Inference<'_> {
    /// Calls `each` with inputs, outputs and targets of every batch, in order, until `stop` is true. No sample is dropped, and
    /// no variable changes. Returns the samples that could not be read.
    pub fn run(
        &self,
        dataset: &dyn Dataset,
        stop: Stop,
        mut each: impl FnMut(&Tensor, &Tensor, &Tensor) -> Result<()>,
    ) -> Result<Vec<SkippedSample>> {
        let loader = self.loader.clone().build()?;
        let mut skipped = Vec::new();
        thread::scope(|scope| {
            for batch in loader.batches_until(scope, dataset, 0, 0, stop)? {
                let batch = batch?;
                let (inputs, targets) = self.preprocess.tensors(&batch, self.device)?;
                skipped.extend(batch.skipped);
                let outputs = self.test_time_augment.forward(self.model, &inputs, &self.context)?;
                each(&inputs, &outputs, &targets)?;
            }
            Ok(skipped)
        })
    }

    /// Computes metrics and predictions on a data set. `metrics` are in their initial state.
    pub fn evaluate_all(&self, loss: &dyn Loss, metrics: MetricSet, dataset: &dyn Dataset) -> Result<Evaluation> {
        let evaluation = self.evaluate(loss, metrics, dataset, &|| false)?;
        Ok(evaluation.expect("nothing stops it"))
    }

    /// Does the same as [`evaluate_all`](Self::evaluate_all); returns `None` where `stop` became true before the last
    /// batch.
    pub fn evaluate(
        &self,
        loss: &dyn Loss,
        mut metrics: MetricSet,
        dataset: &dyn Dataset,
        stop: Stop,
    ) -> Result<Option<Evaluation>> {
        let (mut predictions, mut all_targets) = (Vec::new(), Vec::new());
        let mut confusion = None;
        let skipped = self.run(dataset, stop, |inputs, outputs, targets| {
            let BatchLoss { mean, weight } = no_grad(|| checked_loss(loss, outputs, targets))?;
            // A batch of weight 0 counts for nothing; its mean may be 0/0.
            let mean = if weight == 0.0 { 0.0 } else { mean.double_value(&[]) };
            if !mean.is_finite() {
                let samples = metrics.samples();
                return Err(Error::Training(match all_finite(&[inputs])? {
                    true => TrainingError::NonFiniteEvaluation { loss: mean, samples },
                    false => TrainingError::NonFiniteInput { samples },
                }));
            }
            let output = BatchOutput::new(outputs, targets, mean, weight);
            if output.is_classification() {
                let batch = class_predictions(outputs);
                let classes = classes(&output, metrics.samples())?;
                let confusion =
                    confusion.get_or_insert_with(|| ConfusionMatrix::new(output.outputs.size()[1] as usize));
                for (class, prediction) in classes.iter().zip(&batch) {
                    confusion.add(*class, prediction.map(|prediction| prediction.class));
                }
                all_targets.extend(classes);
                predictions.extend(batch);
            }
            metrics.update(&output)
        })?;
        if metrics.samples() < dataset.len() && stop() {
            return Ok(None);
        }
        let metrics = metrics.compute().ok_or(Error::Data(DataError::EmptyDataset))?;
        let targets = all_targets;
        Ok(Some(Evaluation { metrics, predictions, targets, confusion, skipped }))
    }
}

/// Returns the true classes of a batch, which begins at sample `first`, after a check that the model has outputs for them.
fn classes(output: &BatchOutput, first: usize) -> Result<Vec<usize>> {
    let outputs = output.outputs.size()[1] as usize;
    // Not one by one, each of which would wait for the device.
    let targets = output.targets.to_device(Device::Cpu).contiguous();
    let targets = Vec::<i64>::try_from(targets).map_err(Error::libtorch("targets of a batch"))?;
    let classes: Vec<usize> = targets.into_iter().map(|class| class as usize).collect();
    match classes.iter().position(|&class| class >= outputs) {
        None => Ok(classes),
        // A data set may have more classes than the model has outputs, and not every loss function checks it.
        Some(row) => {
            let class = classes[row] as u32;
            let problem = BatchProblem::ClassOutOfRange { position: first + row, class, classes: outputs };
            Err(Error::Data(DataError::Samples { problem }))
        }
    }
}
