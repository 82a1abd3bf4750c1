//! The interface of an optimizer.

use crate::Result;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use tch::Tensor;

/// Updates the variables of a model from their gradients.
pub trait Optimizer {
    /// Returns the base learning rate of the configuration, from which a schedule computes the rate of each step.
    fn learning_rate(&self) -> f64;

    /// Returns the optimizer's configuration as JSON. A resumed run has to have the same.
    fn configuration(&self) -> serde_json::Value;

    /// Removes the gradients of all variables, so that the next backward pass does not add to them.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch).
    fn zero_grad(&mut self) -> Result<()>;

    /// Updates the variables with this step's learning rate. A variable without a gradient stays as it is.
    ///
    /// # Errors
    ///
    /// Errors of libtorch, such as for a variable whose memory format changed after the optimizer was built.
    fn step(&mut self, learning_rate: f64) -> Result<()>;

    /// Returns the state as tensors with unique names, sorted by name. They share memory with the optimizer.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Restores a state that [`state`](Self::state) returned. After an error the state is unchanged.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::StateMismatch`](crate::error::CheckpointError::StateMismatch) where a name is missing or
    /// unknown, or a shape or dtype differs.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}

/// Returns the [configuration](Optimizer::configuration) of an optimizer of this name; `rates` are those of all
/// parameters, where they differ.
pub(super) fn configuration(name: &str, config: &impl Serialize, rates: Option<&Value>) -> Value {
    let mut config = json!(config);
    if let Some(rates) = rates {
        config["parameters"] = rates.clone();
    }
    json!({ name: config })
}

/// Shows the optimizer's configuration.
impl fmt::Debug for dyn Optimizer + '_ {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.configuration())
    }
}

/// Lets the optimizer be chosen when the program runs.
impl Optimizer for Box<dyn Optimizer> {
    fn learning_rate(&self) -> f64 {
        (**self).learning_rate()
    }

    fn configuration(&self) -> serde_json::Value {
        (**self).configuration()
    }

    fn zero_grad(&mut self) -> Result<()> {
        (**self).zero_grad()
    }

    fn step(&mut self, learning_rate: f64) -> Result<()> {
        (**self).step(learning_rate)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        (**self).state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        (**self).load_state(state)
    }
}
