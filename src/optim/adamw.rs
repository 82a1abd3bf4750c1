//! Adam with decoupled weight decay.

use super::Optimizer;
use super::parameters::{self, Slot, check};
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

/// Configuration of [`AdamW`].
///
/// # Source
///
/// Loshchilov & Hutter: *Decoupled Weight Decay Regularization*, ICLR 2019, algorithm 2; defaults as in PyTorch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdamWConfig {
    /// Positive.
    pub learning_rate: f64,
    /// Decay of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment; positive. Default 1e-8.
    pub epsilon: f64,
    /// Decoupled decay, at least 0. Default 0.01.
    pub weight_decay: f64,
}

impl AdamWConfig {
    /// PyTorch's defaults with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        AdamWConfig { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }

    setters! {
        with_beta1 => beta1: f64,
        with_beta2 => beta2: f64,
        with_epsilon => epsilon: f64,
        with_weight_decay => weight_decay: f64,
    }

    /// Builds the optimiser for all trainable variables of `vs`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig), [`Error::NothingToTrain`](crate::Error::NothingToTrain).
    pub fn build(&self, vs: &VarStore) -> Result<AdamW> {
        check("learning rate", self.learning_rate, self.learning_rate > 0.0, "a positive number")?;
        check("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "a number in [0, 1)")?;
        check("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "a number in [0, 1)")?;
        check("epsilon of AdamW", self.epsilon, self.epsilon > 0.0, "a positive number")?;
        check("weight decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")?;
        let steps = Tensor::zeros([1], (Kind::Int64, Device::Cpu));
        Ok(AdamW { config: self.clone(), slots: parameters::slots(vs)?, steps })
    }
}

/// p ← p·(1 − rate·decay) − rate·m̂/(√v̂ + ε), with bias-corrected moments m̂ and v̂ of the gradient.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot<2>>,
    /// How many steps were made, `[1]`.
    steps: Tensor,
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn zero_grad(&mut self) {
        parameters::zero_grad(&mut self.slots);
    }

    fn step(&mut self, learning_rate: f64) {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay, .. } = self.config;
        let _ = self.steps.g_add_scalar_(1);
        let step = self.steps.int64_value(&[0]) as i32;
        let (correction1, correction2) = (1.0 - beta1.powi(step), 1.0 - beta2.powi(step));
        no_grad(|| {
            for (slot, gradient) in parameters::with_gradients(&mut self.slots) {
                let [first, second] = &mut slot.state;
                let _ = slot.parameter.g_mul_scalar_(1.0 - learning_rate * weight_decay);
                let _ = first.lerp_(&gradient, 1.0 - beta1);
                let _ = second.g_mul_scalar_(beta2);
                let _ = second.g_add_(&(gradient.square() * (1.0 - beta2)));
                let scale = second.sqrt() / correction2.sqrt() + epsilon;
                let _ = slot.parameter.g_sub_(&(&*first / scale * (learning_rate / correction1)));
            }
        });
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = parameters::state(&self.slots, ["exp_avg", "exp_avg_sq"]);
        state.push(("step".to_owned(), self.steps.shallow_clone()));
        state.sort_by(|a, b| a.0.cmp(&b.0));
        state
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        parameters::load(self.state(), state)
    }
}
