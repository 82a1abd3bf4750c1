//! Conversion between the state of a run and a checkpoint.

use super::Callback;
use super::callback_states::{self, CallbackState};
use super::identity::Identity;
use super::progress::Progress;
use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, TrainingError};
use crate::metrics::{MetricSet, MetricStates};
use crate::optim::Optimizer;
use crate::torch::{Variable, Versions, all_finite, named_variables, no_grad, release_free_memory};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

/// The state of a run other than tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    run: Identity,
    progress: Progress,
    /// States of the metrics in the current epoch.
    metrics: MetricStates,
    callbacks: Vec<CallbackState>,
    ranking: Ranking,
    /// The versions that wrote the checkpoint.
    densenet: String,
    libtorch: String,
}

/// What a run remembers about its earlier checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ranking {
    /// Values of the best epochs, best first, and the numbers of their checkpoints.
    pub best: Vec<(f64, u64)>,
    /// The number of the newest checkpoint after which a step or an evaluation had a finite loss.
    pub last_good: Option<u64>,
}

/// A run that was restored from a checkpoint.
pub(super) struct Restored {
    pub progress: Progress,
    pub ranking: Ranking,
}

/// The parts of a run that a checkpoint consists of, and that it is restored into.
pub(super) struct RunState<'a> {
    pub vs: &'a VarStore,
    pub optimizer: &'a mut dyn Optimizer,
    pub metrics: &'a mut MetricSet,
    pub callbacks: &'a mut [Box<dyn Callback>],
}

impl RunState<'_> {
    /// Creates a checkpoint of a run between two steps.
    ///
    /// # Errors
    ///
    /// [`TrainingError::NonFiniteVariable`] where a tensor has values that are not finite.
    pub fn checkpoint(&self, run: &Identity, progress: &Progress, ranking: &Ranking) -> Result<Checkpoint> {
        let variables =
            named_variables(self.vs).into_iter().map(|variable| (MODEL.to_owned() + &variable.name, variable.tensor));
        let state = self.optimizer.state().into_iter().map(|(name, tensor)| (OPTIMIZER.to_owned() + &name, tensor));
        let tensors: BTreeMap<String, Tensor> = variables.chain(state).collect();
        for (name, tensor) in &tensors {
            if !all_finite(&[tensor])? {
                return Err(Error::Training(TrainingError::NonFiniteVariable { variable: name.clone() }));
            }
        }
        let found = Versions::current();
        let saved = Saved {
            run: run.clone(),
            progress: progress.clone(),
            metrics: self.metrics.states()?,
            callbacks: CallbackState::of(self.callbacks),
            ranking: ranking.clone(),
            densenet: found.densenet,
            libtorch: found.libtorch,
        };
        Ok(Checkpoint { state: json!(saved), tensors })
    }

    /// Restores a run from a checkpoint. After an error nothing has changed except states of callbacks.
    pub fn restore(&mut self, checkpoint: Checkpoint, now: &Identity, allowed: &[&str]) -> Result<Restored> {
        let saved: Saved =
            serde_json::from_value(checkpoint.state).map_err(|error| mismatch("the state", error.to_string()))?;
        now.check_against(&saved.run, allowed)?;
        let mut tensors = checkpoint.tensors;
        let pairs = pairs_of_variables(self.vs, &mut tensors)?;
        let state: Vec<(String, Tensor)> = tensors
            .into_iter()
            .map(|(name, tensor)| match name.strip_prefix(OPTIMIZER) {
                Some(own) => Ok((own.to_owned(), tensor)),
                None => Err(mismatch(&name, "the model has no such variable".to_owned())),
            })
            .collect::<Result<_>>()?;
        let mut metrics = self.metrics.fresh();
        metrics.load_states(saved.metrics)?;
        callback_states::restore(saved.callbacks, self.callbacks)?;
        self.optimizer.load_state(&state)?;
        *self.metrics = metrics;
        no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
        drop(state);
        release_free_memory();
        Ok(Restored { progress: saved.progress, ranking: saved.ranking })
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
