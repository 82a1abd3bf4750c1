//! The states of callbacks in a checkpoint, each found by its callback's name and settings.

use super::Callback;
use crate::error::CheckpointError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The saved state of a callback.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CallbackState {
    name: String,
    settings: Value,
    state: Value,
}

impl CallbackState {
    /// Returns the states of the callbacks that have one.
    pub fn of(callbacks: &[Box<dyn Callback>]) -> Vec<Self> {
        let state = |callback: &dyn Callback| {
            Some(CallbackState { state: callback.state()?, name: callback.name(), settings: callback.settings() })
        };
        callbacks.iter().filter_map(|callback| state(callback.as_ref())).collect()
    }
}

/// Returns names and settings of the callbacks that have a state, in an order that does not depend on that of the
/// callbacks.
pub(super) fn description(callbacks: &[Box<dyn Callback>]) -> Value {
    let states = CallbackState::of(callbacks);
    let mut described: Vec<Value> =
        states.into_iter().map(|state| json!({ "name": state.name, "settings": state.settings })).collect();
    described.sort_by_key(Value::to_string);
    Value::Array(described)
}

/// Restores each callback's state where one was saved under its name and settings; of equal ones the first gets the
/// first. A callback without a saved state starts anew, and states without a callback are dropped: the comparison of
/// the runs has allowed both.
pub(super) fn restore(mut saved: Vec<CallbackState>, callbacks: &mut [Box<dyn Callback>]) -> Result<()> {
    for callback in callbacks.iter_mut().filter(|callback| callback.state().is_some()) {
        let (name, settings) = (callback.name(), callback.settings());
        let found = saved.iter().position(|state| state.name == name && state.settings == settings);
        if let Some(found) = found {
            let state = saved.remove(found).state;
            callback.load_state(&state).map_err(|error| {
                let problem = error.with_causes();
                Error::Checkpoint(CheckpointError::StateMismatch { name: format!("callback {name}"), problem })
            })?;
        }
    }
    Ok(())
}
