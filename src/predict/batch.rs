//! Batched inference over data sets and tensors.

use super::config::PredictConfig;
use crate::data::{Dataset, LoaderConfig, Phase, SkippedSample};
use crate::error::{DataError, PredictionError};
use crate::metrics::{ClassPrediction, class_predictions};
use crate::models::Model;
use crate::train::Inference;
use crate::{Error, Result};
use ndarray::Array2;
use tch::{Device, Kind, Tensor};

/// The outputs of a model for many samples, one row per sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Outputs of the model, `[N, classes]` logits or `[N, values]` of a regression.
    pub outputs: Array2<f32>,
}

impl Predictions {
    /// Returns the most likely class of each row of logits, with its probability; `None` for a row with NaN.
    pub fn classes(&self) -> Vec<Option<ClassPrediction>> {
        class_predictions(&self.tensor())
    }

    /// Returns the softmax probabilities of logits, `[N, classes]`; each row sums to 1.
    pub fn probabilities(&self) -> Array2<f32> {
        to_rows(&self.tensor().softmax(-1, Kind::Float), self.outputs.nrows()).expect("softmax keeps the shape")
    }

    fn tensor(&self) -> Tensor {
        let (rows, columns) = self.outputs.dim();
        let values: Vec<f32> = self.outputs.iter().copied().collect();
        Tensor::from_slice(&values).view([rows as i64, columns as i64])
    }
}

/// Predicts all samples of a data set in order, in evaluation mode. Changes no variable. The names of the predicted
/// classes are those of [`Dataset::classes`]. For images without targets use a [`Predictor`](super::Predictor).
///
/// # Errors
///
/// Those of the data set and of the model; [`DataError::EmptyDataset`]; [`DataError::SampleUnavailable`] for a sample that
/// the data set skips; [`PredictionError::OutputShape`] for a model
/// whose output does not have one row per sample; [`Error::Config`] for a batch size out of range.
///
/// # Examples
///
/// ```
/// use densenet::data::SyntheticConfig;
/// use densenet::models::ModuleModel;
/// use densenet::predict::{PredictConfig, predict};
/// use densenet::tch::{Device, nn};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let layer = nn::linear(vs.root(), 64, 3, Default::default());
/// let model = ModuleModel(nn::seq_t().add_fn(move |x| x.flatten(1, -1).apply(&layer)));
/// let samples = SyntheticConfig::new(10).with_sample_shape([1, 8, 8]).with_classes(3).build()?;
/// let predictions = predict(&model, &samples, &PredictConfig::default().with_device(Device::Cpu))?;
/// assert_eq!(predictions.outputs.dim(), (10, 3));
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn predict(model: &dyn Model, dataset: &dyn Dataset, config: &PredictConfig) -> Result<Predictions> {
    config.check()?;
    let inference = Inference {
        model,
        preprocess: &config.preprocess,
        loader: LoaderConfig::new(config.batch_size).with_workers(1).with_phase(Phase::Evaluation),
        device: config.device,
        context: config.context(),
        test_time_augment: config.test_time_augment,
    };
    let (mut outputs, mut samples) = (Vec::new(), 0);
    let skipped = inference.run(dataset, &|| false, |_, batch, targets| {
        let rows = targets.size()[0] as usize;
        check_rows(batch, rows)?;
        samples += rows;
        outputs.push(batch.to_device(Device::Cpu));
        Ok(())
    })?;
    if let Some(SkippedSample { index, problem }) = skipped.into_iter().next() {
        // Another sample would be predicted in its stead.
        return Err(Error::Data(DataError::SampleUnavailable { index, source: problem.into() }));
    }
    if outputs.is_empty() {
        return Err(Error::Data(DataError::EmptyDataset));
    }
    let joined = Tensor::f_cat(&outputs, 0);
    let joined = joined.map_err(Error::libtorch("joining of outputs"))?;
    Ok(Predictions { outputs: to_rows(&joined, samples)? })
}

/// Copies outputs `[samples, …]` to the CPU as f32, with everything after the first dimension in one row.
pub(super) fn to_rows(outputs: &Tensor, samples: usize) -> Result<Array2<f32>> {
    check_rows(outputs, samples)?;
    let flat = outputs.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
    let values = Vec::<f32>::try_from(flat).map_err(Error::libtorch("copy of a model's outputs"))?;
    let columns = values.len() / samples.max(1);
    Ok(Array2::from_shape_vec((samples, columns), values).expect("a tensor's values divide into its rows"))
}

/// Checks that outputs have one row per sample.
fn check_rows(outputs: &Tensor, samples: usize) -> Result<()> {
    let actual = outputs.size();
    match actual.first() {
        Some(&rows) if rows as usize == samples => Ok(()),
        _ => Err(Error::Prediction(PredictionError::OutputShape { actual, samples })),
    }
}
