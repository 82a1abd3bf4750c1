//! The state of a run as a checkpoint, and back.

use super::progress::Progress;
use super::{Callback, TrainConfig};
use crate::checkpoint::Checkpoint;
use crate::data::{Dataset, Fingerprint};
use crate::error::Difference;
use crate::optim::Optimizer;
use crate::torch::{Variable, named_variables, release_free_memory, versions};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Tensor, no_grad};

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

/// Everything of a run's state that is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// What has to be the same when the run goes on, by field.
    run: Map<String, Value>,
    progress: Progress,
    /// Of the callbacks that have a state, in their order.
    callbacks: Vec<Value>,
    best: Vec<(f64, u64)>,
    /// Who wrote it.
    densenet: String,
    libtorch: String,
}

/// What a run consists of, as far as its result depends on it.
pub(super) fn description(
    config: &TrainConfig,
    optimizer: &dyn Optimizer,
    train: &dyn Dataset,
    test: &dyn Dataset,
) -> Result<Map<String, Value>> {
    let mut fields = match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a configuration is an object: {other:?}"),
    };
    // It changes no result.
    fields.remove("workers");
    fields.insert("execution".to_owned(), json!(format!("{:?}", config.execution)));
    fields.insert("precision".to_owned(), json!(format!("{:?}", config.precision)));
    fields.insert("optimizer".to_owned(), optimizer.configuration());
    fields.insert("training set".to_owned(), json!(Fingerprint::of(train)?));
    fields.insert("test set".to_owned(), json!(Fingerprint::of(test)?));
    fields.insert("classes".to_owned(), json!(train.classes()));
    Ok(fields)
}

/// The state of a run between two steps.
pub(super) fn checkpoint(
    run: &Map<String, Value>,
    progress: &Progress,
    best: &[(f64, u64)],
    callbacks: &[Box<dyn Callback>],
    vs: &VarStore,
    optimizer: &dyn Optimizer,
) -> Checkpoint {
    let variables =
        named_variables(vs).into_iter().map(|variable| (MODEL.to_owned() + &variable.name, variable.tensor));
    let state = optimizer.state().into_iter().map(|(name, tensor)| (OPTIMIZER.to_owned() + &name, tensor));
    let found = versions();
    let saved = Saved {
        run: run.clone(),
        progress: progress.clone(),
        callbacks: callbacks.iter().filter_map(|callback| callback.state()).collect(),
        best: best.to_vec(),
        densenet: found.densenet,
        libtorch: found.libtorch,
    };
    Checkpoint { state: json!(saved), tensors: variables.chain(state).collect() }
}

/// Makes a run what it was: all of it, or an error and nothing has changed but callbacks.
pub(super) fn restore(
    checkpoint: Checkpoint,
    now: &Map<String, Value>,
    allowed: &[String],
    callbacks: &mut [Box<dyn Callback>],
    vs: &VarStore,
    optimizer: &mut dyn Optimizer,
) -> Result<(Progress, Vec<(f64, u64)>)> {
    let saved: Saved =
        serde_json::from_value(checkpoint.state).map_err(|error| mismatch("the state", error.to_string()))?;
    let names = saved.run.keys().chain(now.keys().filter(|name| !saved.run.contains_key(*name)));
    let differences = names.filter(|name| saved.run.get(*name) != now.get(*name) && !allowed.contains(name));
    let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
    let differences: Vec<Difference> = differences
        .map(|name| Difference { field: name.clone(), saved: text(saved.run.get(name)), now: text(now.get(name)) })
        .collect();
    if !differences.is_empty() {
        return Err(Error::ConfigMismatch { differences });
    }
    let mut tensors = checkpoint.tensors;
    let pairs = pairs_of_variables(vs, &mut tensors)?;
    let state: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, tensor)| match name.strip_prefix(OPTIMIZER) {
            Some(own) => Ok((own.to_owned(), tensor)),
            None => Err(mismatch(&name, "the model has no such variable".to_owned())),
        })
        .collect::<Result<_>>()?;
    let mut with_state: Vec<_> = callbacks.iter_mut().filter(|callback| callback.state().is_some()).collect();
    if with_state.len() != saved.callbacks.len() {
        let problem = format!("{} were saved, and there are {}", saved.callbacks.len(), with_state.len());
        return Err(mismatch("callbacks with a state", problem));
    }
    for (callback, state) in with_state.iter_mut().zip(&saved.callbacks) {
        callback.load_state(state)?;
    }
    optimizer.load_state(&state)?;
    no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
    drop(state);
    release_free_memory();
    Ok((saved.progress, saved.best))
}

/// Each variable with its saved values, which are taken out of `tensors`.
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
    Error::StateMismatch { name: name.to_owned(), problem }
}
