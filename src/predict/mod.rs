//! Answers of a trained model.

mod answer;
mod predictor;

pub use answer::{Answer, RankedClass};
pub use predictor::{Predictor, PredictorConfig};

use crate::data::{Dataset, LoaderConfig, Phase, Preprocess};
use crate::metrics::{ClassPrediction, class_predictions};
use crate::models::Model;
use crate::nn::{ForwardContext, Mode, Precision};
use crate::torch::default_device;
use crate::train::Inference;
use crate::{Error, Result};
use ndarray::Array2;
use tch::{Device, Kind, Tensor, no_grad};

/// How samples go through a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictConfig {
    /// Samples at a time, 1 to 65,536. Default 64.
    pub batch_size: usize,
    /// What happens to each batch on the device; the same as in training. Default: nothing.
    pub preprocess: Preprocess,
    /// Where the model's variables are. Default: [`default_device`].
    pub device: Device,
    /// In which kind of number the model runs. Default: f32.
    pub precision: Precision,
}

impl Default for PredictConfig {
    fn default() -> Self {
        PredictConfig {
            batch_size: 64,
            preprocess: Preprocess::new(),
            device: default_device(),
            precision: Precision::default(),
        }
    }
}

impl PredictConfig {
    setters! {
        with_batch_size => batch_size: usize,
        with_preprocess => preprocess: Preprocess,
        with_device => device: Device,
        with_precision => precision: Precision,
    }

    fn check(&self) -> Result<()> {
        self.precision.check(self.device)?;
        LoaderConfig::new(self.batch_size).build().map(drop)
    }

    fn context(&self) -> ForwardContext {
        ForwardContext::new(Mode::Eval).with_precision(self.precision)
    }

    fn inference<'a>(&'a self, model: &'a dyn Model) -> Inference<'a> {
        Inference {
            model,
            preprocess: &self.preprocess,
            loader: LoaderConfig::new(self.batch_size).with_workers(1).with_phase(Phase::Evaluation),
            device: self.device,
            context: self.context(),
        }
    }
}

/// The outputs of a model, one row a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// What the model gave: logits `[N, classes]`, or the values of a regression.
    pub outputs: Array2<f32>,
}

impl Predictions {
    /// The class that each row of logits predicts, with its probability.
    pub fn classes(&self) -> Vec<ClassPrediction> {
        class_predictions(&self.tensor())
    }

    /// The softmax probabilities of logits `[N, classes]`; each row sums to 1.
    pub fn probabilities(&self) -> Array2<f32> {
        to_array(&self.tensor().softmax(-1, Kind::Float)).expect("softmax keeps the shape")
    }

    fn tensor(&self) -> Tensor {
        let (rows, columns) = self.outputs.dim();
        let values: Vec<f32> = self.outputs.iter().copied().collect();
        Tensor::from_slice(&values).view([rows as i64, columns as i64])
    }
}

/// The model's outputs for every sample of a data set, in its order. Changes no variable.
///
/// # Errors
///
/// Those of the data set and of the model.
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
    let mut outputs = Vec::new();
    config.inference(model).run(dataset, |batch, _| {
        outputs.push(batch.to_device(Device::Cpu));
        Ok(())
    })?;
    if outputs.is_empty() {
        return Err(Error::EmptyDataset);
    }
    Ok(Predictions { outputs: to_array(&Tensor::cat(&outputs, 0))? })
}

/// The model's outputs for prepared inputs `[N, …]` on the model's device. Changes no variable.
///
/// # Errors
///
/// Those of the model.
pub fn predict_tensor(model: &dyn Model, inputs: &Tensor) -> Result<Predictions> {
    let outputs = no_grad(|| model.forward(inputs, &ForwardContext::new(Mode::Eval)))?;
    Ok(Predictions { outputs: to_array(&outputs)? })
}

/// A tensor `[N, …]` as N rows.
fn to_array(tensor: &Tensor) -> Result<Array2<f32>> {
    let failed = |message: String| Error::Libtorch { what: "a model's outputs", message };
    let rows = tensor.size().first().copied().unwrap_or(1).max(1);
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([rows, -1]);
    let columns = flat.size()[1] as usize;
    let values = Vec::<f32>::try_from(flat.view(-1)).map_err(|error| failed(error.to_string()))?;
    Array2::from_shape_vec((rows as usize, columns), values).map_err(|error| failed(error.to_string()))
}
