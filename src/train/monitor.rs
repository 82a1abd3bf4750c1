//! Monitors: metrics that decide which epoch is the best.

use super::{EpochRecord, Run};
use crate::error::{CheckpointError, ConfigError};
use crate::metrics::{Direction, MetricSet};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::fmt;

/// The metric of the validation set that decides which epoch is the best: for early stopping, for the best weights, for
/// the best checkpoints.
///
/// # Examples
///
/// ```
/// use densenet::train::{EarlyStop, Monitor};
///
/// let by_loss = EarlyStop::after(3); // three epochs without a lower validation loss
/// let by_accuracy = EarlyStop::after(3).with_monitor(Monitor::accuracy());
/// let by_own_metric = EarlyStop::after(3).with_monitor(Monitor::max("top5"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Monitor {
    /// The name of the metric.
    pub metric: String,
    /// Whether the smallest or the largest value is the best.
    pub direction: Direction,
}

impl Monitor {
    /// Monitors the validation loss; the smallest is the best.
    pub fn loss() -> Self {
        Monitor::min("loss")
    }

    /// Monitors the validation accuracy; the largest is the best.
    pub fn accuracy() -> Self {
        Monitor::max("accuracy")
    }

    /// Monitors the metric with this name; its smallest value is the best.
    pub fn min(metric: impl Into<String>) -> Self {
        Monitor { metric: metric.into(), direction: Direction::Minimize }
    }

    /// Monitors the metric with this name; its largest value is the best.
    pub fn max(metric: impl Into<String>) -> Self {
        Monitor { metric: metric.into(), direction: Direction::Maximize }
    }

    /// Checks that a run has what the monitor needs: a validation set, since the test set must not influence choices,
    /// and a metric of this name and direction.
    pub(super) fn check(&self, wanted_by: &'static str, has_validation: bool, metrics: &MetricSet) -> Result<()> {
        if !has_validation {
            return Err(Error::Config(ConfigError::NoValidation { wanted_by }));
        }
        match metrics.direction(&self.metric) {
            None => {
                Err(Error::Config(ConfigError::UnknownMetric { name: self.metric.clone(), known: metrics.names() }))
            }
            Some(direction) if direction != self.direction => {
                let (value, expected) = (self.to_string(), "the other one: the direction that the metric itself has");
                Err(Error::invalid_value("monitor", value, expected))
            }
            Some(_) => Ok(()),
        }
    }

    /// Returns the monitored value of an epoch.
    pub(super) fn value(&self, record: &EpochRecord) -> Result<f64> {
        let value = record.validation.as_ref().and_then(|metrics| metrics.get(&self.metric));
        value.ok_or_else(|| {
            Error::Config(ConfigError::MetricHasNoValue { name: self.metric.clone(), epoch: record.epoch })
        })
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the {} of {}", self.direction, self.metric)
    }
}

/// The best epoch so far by a monitor.
#[derive(Clone, Debug)]
pub(super) struct Best {
    monitor: Monitor,
    /// 1-based index of the epoch and its value; `None` before the first epoch.
    best: Option<(usize, f64)>,
}

impl Best {
    /// Creates a value without a best epoch yet.
    pub fn by(monitor: Monitor) -> Self {
        Best { monitor, best: None }
    }

    /// Returns an error where the run lacks what the monitor needs; `wanted_by` names the part of the run that
    /// monitors.
    pub fn check(&self, run: &Run, wanted_by: &'static str) -> Result<()> {
        self.monitor.check(wanted_by, run.datasets.validation.is_some(), run.metrics)
    }

    /// Returns the 1-based index of the best epoch; 0 before the first epoch.
    pub fn epoch(&self) -> usize {
        self.best.map_or(0, |(epoch, _)| epoch)
    }

    /// Compares an epoch with the best one, and returns whether it is the best so far.
    pub fn update(&mut self, record: &EpochRecord) -> Result<bool> {
        let value = self.monitor.value(record)?;
        let is_better = self.best.is_none_or(|(_, best)| self.monitor.direction.is_better(value, best));
        if is_better {
            self.best = Some((record.epoch, value));
        }
        Ok(is_better)
    }

    /// Returns the settings of a callback that monitors.
    pub fn settings(&self) -> Value {
        json!({ "monitor": self.monitor.to_string() })
    }

    /// Returns the state for a checkpoint.
    pub fn state(&self) -> Value {
        json!(self.best)
    }

    /// Restores what [`state`](Self::state) returned.
    pub fn load_state(&mut self, state: &Value) -> Result<()> {
        let mismatch =
            |problem| Error::Checkpoint(CheckpointError::StateMismatch { name: "best epoch".to_owned(), problem });
        self.best = serde_json::from_value(state.clone()).map_err(|error| mismatch(error.to_string()))?;
        Ok(())
    }
}
