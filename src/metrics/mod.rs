//! Metrics: numbers that a run measures over its batches.
//!
//! A [`Metric`] accumulates a state over batches and computes one number from it. The loss and, where the targets are
//! classes, the accuracy are metrics of every run; [`Trainer::with_metric`](crate::train::Trainer::with_metric) adds
//! others. Their values after an epoch are [`Metrics`], by name.

mod accuracy;
mod confusion;
mod mean_loss;
mod metric;
mod predictions;
mod set;
mod values;

pub use confusion::ConfusionMatrix;
pub use metric::{BatchOutput, Direction, Metric};
pub use predictions::ClassPrediction;
pub use values::Metrics;

pub(crate) use predictions::{class_predictions, correct_predictions};
pub(crate) use set::{MetricSet, MetricStates};
