//! The values of metrics.

use super::accuracy::Accuracy;
use super::mean_loss::MeanLoss;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The values of metrics over a set of samples, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Number of samples that the values were measured on.
    pub samples: usize,
    #[serde(flatten)]
    values: BTreeMap<String, f64>,
}

impl Metrics {
    pub(crate) fn new(samples: usize, values: impl IntoIterator<Item = (String, f64)>) -> Self {
        Metrics { samples, values: values.into_iter().collect() }
    }

    /// Returns the value of the metric with this name; `None` where it has none.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// Returns the mean loss per sample, which every run has.
    pub fn loss(&self) -> f64 {
        self.get(MeanLoss::NAME).unwrap_or(f64::NAN)
    }

    /// Returns the share of correct predictions, from 0 to 1; `None` where the targets are not classes.
    pub fn accuracy(&self) -> Option<f64> {
        self.get(Accuracy::NAME)
    }

    /// Iterates over names and values: the loss, the accuracy, then the others sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let mut values: Vec<_> = self.values.iter().map(|(name, &value)| (name.as_str(), value)).collect();
        values.sort_by_key(|(name, _)| rank(name));
        values.into_iter()
    }
}

/// Returns the rank of a metric in the order of names: the loss first, then the accuracy.
pub(super) fn rank(name: &str) -> usize {
    let first = [MeanLoss::NAME, Accuracy::NAME];
    first.iter().position(|known| *known == name).unwrap_or(first.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_accuracy_come_first_and_json_keeps_every_value() {
        let values = [("a", 0.1), ("loss", 0.2), ("z", 1.0 / 3.0), ("accuracy", 0.4)];
        let metrics = Metrics::new(7, values.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(metrics.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["loss", "accuracy", "a", "z"]);
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(json, r#"{"samples":7,"a":0.1,"accuracy":0.4,"loss":0.2,"z":0.3333333333333333}"#);
        assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
        assert_eq!((metrics.loss(), metrics.accuracy(), metrics.get("b")), (0.2, Some(0.4), None));
    }
}
