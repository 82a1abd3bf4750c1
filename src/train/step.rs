//! One step of training: forward pass, loss, backward pass, checks, update, metrics.

use super::loss::checked_loss;
use super::progress::Place;
use super::steps::Unread;
use super::{BatchLoss, Trainer};
use crate::error::TrainingError;
use crate::metrics::BatchOutput;
use crate::models::Model;
use crate::torch::all_finite;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tch::Tensor;

impl<M: Model> Trainer<M> {
    /// Runs one step, and returns the mean loss. After an error, or a panic of the model, running statistics are what
    /// they were before; so are variables and metrics, unless `is_updating` says otherwise.
    pub(super) fn step(&mut self, inputs: &Tensor, targets: &Tensor, learning_rate: f64, place: Place) -> Result<f64> {
        self.checked.save()?;
        let step = catch_unwind(AssertUnwindSafe(|| self.update(inputs, targets, learning_rate, place)));
        if !matches!(step, Ok(Ok(_))) {
            self.checked.restore()?;
        }
        step.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn update(&mut self, inputs: &Tensor, targets: &Tensor, learning_rate: f64, place: Place) -> Result<f64> {
        let (outputs, BatchLoss { mean, weight }) = self.forward(inputs, targets, place)?;
        let value = mean.double_value(&[]);
        if !value.is_finite() {
            let (Place { epoch, step }, samples) = (place, self.progress.samples);
            return Err(Error::Training(match all_finite(&[inputs])? {
                true => TrainingError::NonFiniteLoss { loss: value, epoch, step },
                false => TrainingError::NonFiniteInput { samples },
            }));
        }
        mean.f_backward().map_err(Error::libtorch("backward pass"))?;
        self.checked.check_finite(&self.vs, place)?;
        self.is_updating = true;
        let output = BatchOutput::new(&outputs, targets, value, weight);
        self.metrics.update(&output.with_mixing(!self.config.mixing.is_none()))?;
        self.optimizer.step(learning_rate)?;
        Ok(value)
    }

    /// Runs one step without waiting for its results: nothing is checked but by `found`, which becomes 1 where a value is
    /// not finite. Metrics are not updated.
    pub(super) fn step_unread(
        &mut self,
        inputs: &Tensor,
        targets: &Tensor,
        learning_rate: f64,
        place: Place,
        found: &mut Tensor,
    ) -> Result<Unread> {
        let (outputs, BatchLoss { mean, weight }) = self.forward(inputs, targets, place)?;
        mean.f_backward().map_err(Error::libtorch("backward pass"))?;
        self.checked.find_non_finite(&mean, found)?;
        self.optimizer.step(learning_rate)?;
        Ok(Unread { outputs: outputs.detach(), mean: mean.detach(), weight })
    }

    /// Removes the gradients, and computes outputs and loss.
    fn forward(&mut self, inputs: &Tensor, targets: &Tensor, place: Place) -> Result<(Tensor, BatchLoss)> {
        // Every random number of the model, such as those of dropout, is a function of the seed and the step.
        let ctx = self.config.context(self.config.mode).with_seed(step_seed(self.config.seed, place));
        self.optimizer.zero_grad()?;
        let outputs = self.model.forward(inputs, &ctx)?;
        let loss = checked_loss(self.loss.as_ref(), &outputs, targets)?;
        Ok((outputs, loss))
    }
}

/// Returns the seed of a step's random numbers. Odd multipliers give different steps different seeds.
fn step_seed(seed: u64, Place { epoch, step }: Place) -> u64 {
    let position = ((epoch as u64) << 32) | step as u64;
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ position.wrapping_mul(0xD1B5_4A32_D192_ED03)
}
