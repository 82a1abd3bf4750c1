//! Adam with decoupled weight decay.

use super::Optimizer;
use super::parameters::{self, Slot, WithGradients, check};
use crate::Result;
use crate::torch::{AdamWStep, adamw_step};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

config! {
    /// Configuration of the AdamW optimizer: p ← p·(1 − rate·decay) − rate·m̂/(√v̂ + ε), with bias-corrected moments m̂
    /// and v̂ of the gradient.
    ///
    /// # Source
    ///
    /// Loshchilov & Hutter: *Decoupled Weight Decay Regularization*, ICLR 2019, algorithm 2; defaults as in PyTorch.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct AdamWConfig {
        /// Base learning rate, above 0. A [`Schedule`](super::Schedule) computes the rate of each step from it.
        pub learning_rate: f64,
        /// Decay of the first moment, in [0, 1). Default 0.9.
        pub beta1: f64 => with_beta1,
        /// Decay of the second moment, in [0, 1). Default 0.999.
        pub beta2: f64 => with_beta2,
        /// Number that is added to the root of the second moment, above 0. Default 1e-8.
        pub epsilon: f64 => with_epsilon,
        /// Decoupled weight decay, at least 0. Default 0.01.
        pub weight_decay: f64 => with_weight_decay,
    }
}

impl AdamWConfig {
    /// Creates a configuration with PyTorch's defaults and this base learning rate.
    pub fn new(learning_rate: f64) -> Self {
        AdamWConfig { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }

    /// Builds the optimizer for all trainable variables of `vs`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue),
    /// [`ConfigError::NothingToTrain`](crate::error::ConfigError::NothingToTrain).
    pub fn build(&self, vs: &VarStore) -> Result<Box<dyn Optimizer>> {
        check("learning rate", self.learning_rate, self.learning_rate > 0.0, "a positive number")?;
        check("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "a number in [0, 1)")?;
        check("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "a number in [0, 1)")?;
        check("epsilon of AdamW", self.epsilon, self.epsilon > 0.0, "a positive number")?;
        check("weight decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")?;
        let steps = Tensor::zeros([1], (Kind::Int64, Device::Cpu));
        Ok(Box::new(AdamW { config: self.clone(), slots: parameters::slots(vs)?, steps }))
    }
}

/// The optimizer and its state.
#[derive(Debug)]
struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot<2>>,
    /// Number of steps so far, `[1]`.
    steps: Tensor,
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn configuration(&self) -> serde_json::Value {
        serde_json::json!({ "adamw": self.config })
    }

    fn zero_grad(&mut self) -> Result<()> {
        parameters::zero_grad(&self.slots)
    }

    fn step(&mut self, learning_rate: f64) -> Result<()> {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay, .. } = self.config;
        let _ = self.steps.g_add_scalar_(1);
        let WithGradients { parameters, gradients, state: [first, second] } = WithGradients::of(&self.slots);
        let device = parameters.first().map_or(Device::Cpu, |parameter| parameter.device());
        let number = self.steps.to_kind(Kind::Float).to_device(device).squeeze();
        let step = AdamWStep { learning_rate, beta1, beta2, epsilon, weight_decay };
        adamw_step(&parameters, &gradients, &first, &second, &number, &step)
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
