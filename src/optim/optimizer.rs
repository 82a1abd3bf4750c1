//! What the trainer needs of an optimiser.

use crate::Result;
use tch::Tensor;

/// Updates the variables of a model from their gradients.
pub trait Optimizer {
    /// The learning rate that the configuration names; a schedule makes the rate of each step from it.
    fn learning_rate(&self) -> f64;

    /// Sets all gradients to 0.
    fn zero_grad(&mut self);

    /// Updates the variables with this step's learning rate. A variable without a gradient stays as it is.
    fn step(&mut self, learning_rate: f64);

    /// The state as tensors with unique names, sorted by name. They share memory with the optimiser.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Takes over a state that [`state`](Self::state) gave: all of it, or nothing and an error.
    ///
    /// # Errors
    ///
    /// [`Error::StateMismatch`](crate::Error::StateMismatch) where a name is missing or unknown, or a shape or kind differs.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}
