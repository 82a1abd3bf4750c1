//! All metrics of a run, whatever their types.

use super::accuracy::Accuracy;
use super::mean_loss::MeanLoss;
use super::values::rank;
use super::{BatchOutput, Direction, Metric, Metrics};
use crate::error::CheckpointError;
use crate::torch::no_grad;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A [`Metric`] of any type, as a trait object.
trait AnyMetric {
    fn name(&self) -> String;
    fn direction(&self) -> Direction;
    fn update(&mut self, batch: &BatchOutput) -> Result<()>;
    fn compute(&self) -> Option<f64>;
    /// Returns the same metric in its initial state.
    fn fresh(&self) -> Box<dyn AnyMetric>;
    fn state(&self) -> serde_json::Result<Value>;
    fn load_state(&mut self, state: Value) -> serde_json::Result<()>;
}

/// A metric in its initial and in its current state.
struct Running<M> {
    initial: M,
    state: M,
}

impl<M: Metric> AnyMetric for Running<M> {
    fn name(&self) -> String {
        self.initial.name()
    }

    fn direction(&self) -> Direction {
        self.initial.direction()
    }

    fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        self.state.update(batch)
    }

    fn compute(&self) -> Option<f64> {
        self.state.compute()
    }

    fn fresh(&self) -> Box<dyn AnyMetric> {
        Box::new(Running { initial: self.initial.clone(), state: self.initial.clone() })
    }

    fn state(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&self.state)
    }

    fn load_state(&mut self, state: Value) -> serde_json::Result<()> {
        self.state = serde_json::from_value(state)?;
        Ok(())
    }
}

/// The metrics of a run with their states: the loss, the accuracy, and those that were added.
pub(crate) struct MetricSet {
    metrics: Vec<Box<dyn AnyMetric>>,
    samples: usize,
}

/// The state of a [`MetricSet`] in a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MetricStates {
    samples: usize,
    states: BTreeMap<String, Value>,
}

impl MetricSet {
    /// Creates the metrics of every run: loss and accuracy.
    pub fn new() -> Self {
        let mut set = MetricSet { metrics: Vec::new(), samples: 0 };
        set.add(MeanLoss::default());
        set.add(Accuracy::default());
        set
    }

    /// Adds a metric in its initial state.
    pub fn add(&mut self, metric: impl Metric) {
        self.metrics.push(Box::new(Running { initial: metric.clone(), state: metric }));
    }

    /// Checks that names are unique and valid in the name of a column.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue).
    pub fn check_names(&self) -> Result<()> {
        let invalid = |value, expected| Err(Error::invalid_value("name of a metric", value, expected));
        for (number, metric) in self.metrics.iter().enumerate() {
            let name = metric.name();
            if name.is_empty() || name == "samples" || name.chars().any(|c| c.is_control() || matches!(c, ',' | '"')) {
                return invalid(
                    format!("{name:?}"),
                    "neither empty nor \"samples\", without commas, quotes and control characters",
                );
            }
            if self.metrics[..number].iter().any(|other| other.name() == name) {
                return invalid(format!("{name:?} twice"), "different from those of the other metrics");
            }
        }
        Ok(())
    }

    /// Returns the names, in the order of the values in [`Metrics::iter`].
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.metrics.iter().map(|metric| metric.name()).collect();
        names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
        names
    }

    /// Returns the direction of the metric with this name.
    pub fn direction(&self, name: &str) -> Option<Direction> {
        self.metrics.iter().find(|metric| metric.name() == name).map(|metric| metric.direction())
    }

    /// Returns the same metrics in their initial states.
    pub fn fresh(&self) -> Self {
        MetricSet { metrics: self.metrics.iter().map(|metric| metric.fresh()).collect(), samples: 0 }
    }

    /// Returns the number of samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Updates all metrics with a batch.
    pub fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        self.samples += batch.samples();
        no_grad(|| self.metrics.iter_mut().try_for_each(|metric| metric.update(batch)))
    }

    /// Computes the values so far; `None` before the first sample.
    pub fn compute(&self) -> Option<Metrics> {
        let value = |metric: &dyn AnyMetric| Some((metric.name(), metric.compute().filter(|v| v.is_finite())?));
        let values = self.metrics.iter().filter_map(|metric| value(metric.as_ref()));
        (self.samples > 0).then(|| Metrics::new(self.samples, values))
    }

    /// Returns the states of all metrics.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::StateMismatch`] where a state cannot become JSON.
    pub fn states(&self) -> Result<MetricStates> {
        let state = |metric: &dyn AnyMetric| {
            let state = metric.state().map_err(|error| mismatch(&metric.name(), error.to_string()))?;
            Ok((metric.name(), state))
        };
        let states = self.metrics.iter().map(|metric| state(metric.as_ref())).collect::<Result<_>>()?;
        Ok(MetricStates { samples: self.samples, states })
    }

    /// Restores what [`states`](Self::states) returned.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::StateMismatch`] where a metric's state is missing or is another type's.
    pub fn load_states(&mut self, mut saved: MetricStates) -> Result<()> {
        self.samples = saved.samples;
        for metric in &mut self.metrics {
            let name = metric.name();
            let state = saved.states.remove(&name).ok_or_else(|| mismatch(&name, "it is missing".to_owned()))?;
            metric.load_state(state).map_err(|error| mismatch(&name, error.to_string()))?;
        }
        Ok(())
    }
}

fn mismatch(metric: &str, problem: String) -> Error {
    Error::Checkpoint(CheckpointError::StateMismatch { name: format!("metric {metric}"), problem })
}
