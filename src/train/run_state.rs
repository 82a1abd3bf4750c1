//! Conversion between the state of a run and a checkpoint.

use super::progress::Progress;
use super::{Callback, Datasets, TrainConfig};
use crate::checkpoint::Checkpoint;
use crate::data::Fingerprint;
use crate::error::CheckpointError;
use crate::metrics::{MetricSet, MetricStates};
use crate::optim::Optimizer;
use crate::torch::{Variable, Versions, named_variables, no_grad, release_free_memory};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

/// The state of a run other than tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// The values that have to be equal in a resumed run, by field.
    run: Map<String, Value>,
    progress: Progress,
    /// States of the metrics in the current epoch.
    metrics: MetricStates,
    /// States of the callbacks that have one, in their order.
    callbacks: Vec<Value>,
    best: Vec<(f64, u64)>,
    /// The versions that wrote the checkpoint.
    densenet: String,
    libtorch: String,
}

/// The parts of a run that a checkpoint consists of, and that it is restored into.
pub(super) struct RunState<'a> {
    pub vs: &'a VarStore,
    pub optimizer: &'a mut dyn Optimizer,
    pub metrics: &'a mut MetricSet,
    pub callbacks: &'a mut [Box<dyn Callback>],
}

/// Returns everything that a run's result depends on, by field.
pub(super) fn description(
    config: &TrainConfig,
    optimizer: &dyn Optimizer,
    metrics: &MetricSet,
    datasets: &Datasets,
) -> Result<Map<String, Value>> {
    let mut fields = match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a configuration is an object: {other:?}"),
    };
    // The number of workers changes no result.
    fields.remove("workers");
    fields.insert("execution".to_owned(), json!(format!("{:?}", config.execution)));
    fields.insert("precision".to_owned(), json!(format!("{:?}", config.precision)));
    fields.insert("optimizer".to_owned(), optimizer.configuration());
    fields.insert("metrics".to_owned(), json!(metrics.names()));
    fields.insert("training set".to_owned(), json!(Fingerprint::of(datasets.train)?));
    for (set, dataset) in datasets.evaluated() {
        fields.insert(set.to_owned(), json!(Fingerprint::of(dataset)?));
    }
    fields.insert("classes".to_owned(), json!(datasets.train.classes()));
    Ok(fields)
}

impl RunState<'_> {
    /// Creates a checkpoint of a run between two steps.
    pub fn checkpoint(&self, run: &Map<String, Value>, progress: &Progress, best: &[(f64, u64)]) -> Result<Checkpoint> {
        let variables =
            named_variables(self.vs).into_iter().map(|variable| (MODEL.to_owned() + &variable.name, variable.tensor));
        let state = self.optimizer.state().into_iter().map(|(name, tensor)| (OPTIMIZER.to_owned() + &name, tensor));
        let found = Versions::current();
        let saved = Saved {
            run: run.clone(),
            progress: progress.clone(),
            metrics: self.metrics.states()?,
            callbacks: self.callbacks.iter().filter_map(|callback| callback.state()).collect(),
            best: best.to_vec(),
            densenet: found.densenet,
            libtorch: found.libtorch,
        };
        Ok(Checkpoint { state: json!(saved), tensors: variables.chain(state).collect() })
    }

    /// Restores a run from a checkpoint. After an error nothing has changed except metrics and callbacks.
    pub fn restore(
        &mut self,
        checkpoint: Checkpoint,
        now: &Map<String, Value>,
        allowed: &[&str],
    ) -> Result<(Progress, Vec<(f64, u64)>)> {
        let saved: Saved =
            serde_json::from_value(checkpoint.state).map_err(|error| mismatch("the state", error.to_string()))?;
        check_same_run(&saved.run, now, allowed)?;
        let mut tensors = checkpoint.tensors;
        let pairs = pairs_of_variables(self.vs, &mut tensors)?;
        let state: Vec<(String, Tensor)> = tensors
            .into_iter()
            .map(|(name, tensor)| match name.strip_prefix(OPTIMIZER) {
                Some(own) => Ok((own.to_owned(), tensor)),
                None => Err(mismatch(&name, "the model has no such variable".to_owned())),
            })
            .collect::<Result<_>>()?;
        let mut with_state: Vec<_> = self.callbacks.iter_mut().filter(|callback| callback.state().is_some()).collect();
        if with_state.len() != saved.callbacks.len() {
            let problem = format!("{} were saved, and there are {}", saved.callbacks.len(), with_state.len());
            return Err(mismatch("callbacks with a state", problem));
        }
        for (callback, state) in with_state.iter_mut().zip(&saved.callbacks) {
            callback.load_state(state)?;
        }
        self.metrics.load_states(saved.metrics)?;
        self.optimizer.load_state(&state)?;
        no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
        drop(state);
        release_free_memory();
        Ok((saved.progress, saved.best))
    }
}

/// Returns an error that names the fields in which a run differs from the saved one, apart from the allowed ones.
fn check_same_run(saved: &Map<String, Value>, now: &Map<String, Value>, allowed: &[&str]) -> Result<()> {
    let names = saved.keys().chain(now.keys().filter(|name| !saved.contains_key(*name)));
    let differences = names.filter(|name| saved.get(*name) != now.get(*name) && !allowed.contains(&name.as_str()));
    let values = |name: &String| [saved, now].map(|run| run.get(name).map_or("absent".to_owned(), Value::to_string));
    let differences: BTreeMap<_, _> = differences.map(|name| (name.clone(), values(name))).collect();
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences }))
    }
}

/// Returns each variable with its saved values, which are removed from `tensors`.
fn pairs_of_variables(vs: &VarStore, tensors: &mut BTreeMap<String, Tensor>) -> Result<Vec<(Tensor, Tensor)>> {
    let mut pairs = Vec::new();
    for Variable { name, tensor: own, .. } in named_variables(vs) {
        let new =
            tensors.remove(&(MODEL.to_owned() + &name)).ok_or_else(|| mismatch(&name, "it is missing".to_owned()))?;
        if (new.size(), new.kind()) == (own.size(), own.kind()) {
            pairs.push((own, new));
            continue;
        }
        let describe = |t: &Tensor| format!("{:?} {:?}", t.kind(), t.size());
        return Err(mismatch(&name, format!("it is {}, but has to be {}", describe(&new), describe(&own))));
    }
    Ok(pairs)
}

fn mismatch(name: &str, problem: String) -> Error {
    Error::Checkpoint(CheckpointError::StateMismatch { name: name.to_owned(), problem })
}
