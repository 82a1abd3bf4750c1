//! The identity of a run: everything that its result depends on, which a resumed run has to have too.

use super::callback_states;
use super::{Callback, Datasets, Loss, TrainConfig};
use crate::data::Fingerprint;
use crate::error::CheckpointError;
use crate::metrics::MetricSet;
use crate::models::Model;
use crate::optim::Optimizer;
use crate::torch::named_variables;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tch::nn::VarStore;

/// The parts of a run that determine its result, apart from the values of its variables.
pub(super) struct Parts<'a> {
    pub config: &'a TrainConfig,
    pub model: &'a dyn Model,
    pub vs: &'a VarStore,
    pub optimizer: &'a dyn Optimizer,
    pub loss: &'a dyn Loss,
    pub metrics: &'a MetricSet,
    pub callbacks: &'a [Box<dyn Callback>],
    pub datasets: &'a Datasets<'a>,
}

/// The values that have to be equal in a resumed run, by field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Identity(Map<String, Value>);

impl Identity {
    /// Describes a run. Reads all targets of its data sets, and some of their samples.
    pub fn of(parts: &Parts) -> Result<Self> {
        let Parts { config, model, vs, optimizer, loss, metrics, callbacks, datasets } = parts;
        let mut fields = match serde_json::to_value(config) {
            Ok(Value::Object(fields)) => fields,
            other => unreachable!("a configuration is an object: {other:?}"),
        };
        // These change no result.
        fields.remove("workers");
        fields.remove("retries");
        let frozen: Vec<String> = named_variables(vs)
            .into_iter()
            .filter(|variable| !variable.trainable && !is_buffer(&variable.name))
            .map(|variable| variable.name)
            .collect();
        let mut add = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        add("execution", json!(format!("{:?}", config.execution)));
        add("precision", json!(format!("{:?}", config.precision)));
        add("model", model.configuration());
        add("frozen variables", json!(frozen));
        add("optimizer", optimizer.configuration());
        add("loss", loss.configuration());
        add("metrics", json!(metrics.names()));
        add("callbacks", callback_states::description(callbacks));
        add("classes", json!(datasets.train.classes()));
        add("training set", json!(Fingerprint::of(datasets.train)?));
        for (set, dataset) in datasets.evaluated() {
            add(set, json!(Fingerprint::of(dataset)?));
        }
        Ok(Identity(fields))
    }

    /// Compares with the identity of the saved run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::ConfigMismatch`] with the differences in fields that are not in `allowed`.
    pub fn check_against(&self, saved: &Identity, allowed: &[&str]) -> Result<()> {
        let names = saved.0.keys().chain(self.0.keys().filter(|name| !saved.0.contains_key(*name)));
        let values =
            |name: &String| [saved, self].map(|run| run.0.get(name).map_or("absent".to_owned(), Value::to_string));
        let differences: BTreeMap<String, [String; 2]> = names
            .filter(|name| saved.0.get(*name) != self.0.get(*name) && !allowed.contains(&name.as_str()))
            .map(|name| (name.clone(), values(name)))
            .collect();
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })),
        }
    }
}

/// Whether a variable is one that is never trained, by the name that norms give it.
fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}
