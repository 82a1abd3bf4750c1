//! The interface of a metric.

use crate::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use tch::{Kind, Tensor};

/// A number that is measured over many batches, such as an accuracy.
///
/// A value of the type is the metric's state. The trainer clones the value that it was given for each epoch and each
/// evaluation, and updates the clone with every batch; so the state must not hold tensors of a batch. The state is
/// serialized into checkpoints, so that a run that is resumed in the middle of an epoch computes the same number; it
/// goes through JSON, which has no NaN and no infinity.
///
/// # Examples
///
/// The share of samples whose class is among the `k` largest outputs. The derives need `serde` with its feature
/// `derive` among the program's dependencies.
///
/// ```
/// use densenet::data::SyntheticConfig;
/// use densenet::metrics::{BatchOutput, Direction, Metric};
/// use densenet::tch::{Kind, nn::VarStore};
/// use densenet::train::{Datasets, EarlyStop, Monitor};
/// use densenet::{DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct TopK {
///     k: i64,
///     correct: i64,
///     samples: i64,
/// }
///
/// impl Metric for TopK {
///     fn name(&self) -> String {
///         format!("top{}", self.k)
///     }
///
///     fn direction(&self) -> Direction {
///         Direction::Maximize
///     }
///
///     fn update(&mut self, batch: &BatchOutput) -> Result<()> {
///         if batch.is_classification() {
///             let (_, largest) = batch.outputs.topk(self.k, -1, true, false);
///             let correct = largest.eq_tensor(&batch.targets.unsqueeze(-1)).sum(Kind::Int64);
///             self.correct += correct.int64_value(&[]);
///             self.samples += batch.samples() as i64;
///         }
///         Ok(())
///     }
///
///     fn merge(&mut self, other: &Self) {
///         self.correct += other.correct;
///         self.samples += other.samples;
///     }
///
///     fn compute(&self) -> Option<f64> {
///         (self.samples > 0).then(|| self.correct as f64 / self.samples as f64)
///     }
/// }
///
/// let vs = VarStore::new(densenet::default_device());
/// let model = DenseNetConfig::new(4)
///     .with_input_channels(1)
///     .with_initial_channels(8)
///     .with_growth_rate(4)
///     .with_layers_per_block([1, 1])
///     .build(&vs.root())?;
/// let optimizer = SgdConfig::new(0.1).build(&vs)?;
/// let samples = SyntheticConfig::new(64).with_sample_shape([1, 16, 16]).with_classes(4);
/// let (train, validation) = (samples.clone().build()?, samples.with_seed(1).build()?);
/// let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(2).with_batch_size(16))?
///     .with_metric(TopK { k: 2, correct: 0, samples: 0 })
///     .with_callback(EarlyStop::after(3).with_monitor(Monitor::max("top2")));
/// let history = trainer.fit(&Datasets::new(&train).with_validation(&validation))?;
/// let metrics = history.last().unwrap().validation.as_ref().unwrap();
/// assert!(metrics.get("top2") >= metrics.accuracy());
/// # Ok::<(), densenet::Error>(())
/// ```
pub trait Metric: Clone + Serialize + DeserializeOwned + 'static {
    /// Returns the name of the metric in histories, logs, files and monitors, such as "accuracy". It is part of a
    /// column's name in CSV files: letters, digits and `_` are a good choice, and commas, quotes and control characters
    /// are an error.
    fn name(&self) -> String;

    /// Whether larger or smaller values are better.
    fn direction(&self) -> Direction;

    /// Updates the state with a batch. It is called within [`tch::no_grad`].
    ///
    /// # Errors
    ///
    /// Any error, which ends the run; [`Error::other`](crate::Error::other) makes one of any error of your own.
    fn update(&mut self, batch: &BatchOutput) -> Result<()>;

    /// Merges another state of the same metric into this one, such as that of another process.
    fn merge(&mut self, other: &Self);

    /// Returns the value over all batches so far; `None` where there is none, as for an accuracy without classes. A
    /// value that is not finite counts as none.
    fn compute(&self) -> Option<f64>;
}

/// Whether larger or smaller values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Smaller values are better, as for a loss.
    Minimize,
    /// Larger values are better, as for an accuracy.
    Maximize,
}

impl Direction {
    /// Whether `value` is better than `other`; false where they are equal.
    pub(crate) fn is_better(self, value: f64, other: f64) -> bool {
        match self {
            Direction::Minimize => value < other,
            Direction::Maximize => value > other,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Direction::Minimize => "minimum",
            Direction::Maximize => "maximum",
        })
    }
}

/// A model's outputs for a batch, with the targets and the loss.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BatchOutput<'a> {
    /// The model's outputs, such as logits `[N, classes]`.
    pub outputs: &'a Tensor,
    /// The targets, such as class indices `[N]`. Where the training [mixes](crate::train::Mixing) samples, they are
    /// probabilities `[N, classes]` in its batches; [`class_targets`](Self::class_targets) returns classes in either
    /// case.
    pub targets: &'a Tensor,
    /// The mean loss over the batch.
    pub loss: f64,
    /// The weight of the loss in the mean over batches: the number of samples, or the sum of their weights.
    pub loss_weight: f64,
    /// Whether the targets are probabilities of a mixed batch.
    is_mixed: bool,
}

impl<'a> BatchOutput<'a> {
    pub(crate) fn new(outputs: &'a Tensor, targets: &'a Tensor, loss: f64, loss_weight: f64) -> Self {
        BatchOutput { outputs, targets, loss, loss_weight, is_mixed: false }
    }

    /// Sets whether the targets are probabilities of a mixed batch.
    pub(crate) fn with_mixing(self, is_mixed: bool) -> Self {
        BatchOutput { is_mixed, ..self }
    }

    /// Returns the true classes `[N]` of a [classification](Self::is_classification): the targets, or the class of the
    /// largest probability where the training mixes samples. `None` where targets are not classes.
    pub fn class_targets(&self) -> Option<Tensor> {
        if self.is_classification() {
            return Some(self.targets.shallow_clone());
        }
        let is_row_of_classes = self.outputs.dim() == 2 && self.outputs.size() == self.targets.size();
        (self.is_mixed && is_row_of_classes).then(|| self.targets.argmax(-1, false))
    }

    /// Returns the number of samples in the batch, `N`.
    pub fn samples(&self) -> usize {
        self.targets.size().first().map_or(0, |&n| n as usize)
    }

    /// Whether outputs are rows of at least two logits, `[N, classes]`, and targets are class indices `[N]`, so that a
    /// share of correct predictions makes sense. One logit per sample has no largest one. False for mixed batches,
    /// whose targets are probabilities.
    pub fn is_classification(&self) -> bool {
        let has_classes = self.targets.kind() == Kind::Int64 && self.targets.dim() == 1;
        has_classes
            && matches!(self.outputs.size()[..], [rows, classes] if rows == self.targets.size()[0] && classes >= 2)
    }
}
