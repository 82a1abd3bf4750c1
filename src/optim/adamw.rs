//! Adam with decoupled weight decay.

use super::Optimizer;
use super::parameters::{self, Slot, WithGradients, check};
use crate::error::CheckpointError;
use crate::torch::{AdamWStep, adamw_step};
use crate::{Error, Result};
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
        let slots = parameters::slots(vs)?;
        let steps = Tensor::zeros([slots.len() as i64], (Kind::Int64, Device::Cpu));
        Ok(Box::new(AdamW { config: self.clone(), slots, steps }))
    }
}

/// The optimizer and its state.
#[derive(Debug)]
struct AdamW {
    config: AdamWConfig,
    slots: Vec<Slot<2>>,
    /// Number of steps that each variable has made, `[slots]`: one with no gradient makes no step, and the correction of
    /// its moments waits for it.
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
        let WithGradients { parameters, gradients, state: [first, second] } = WithGradients::of(&self.slots);
        let has_gradient: Vec<_> = self.slots.iter().map(|slot| slot.parameter.grad().defined()).collect();
        let steps = &self.steps + Tensor::from_slice(&has_gradient).to_kind(Kind::Int64);
        let numbers = numbers(&steps, &has_gradient, &parameters)?;
        let step = AdamWStep { learning_rate, beta1, beta2, epsilon, weight_decay };
        adamw_step(&parameters, &gradients, &first, &second, &numbers, &step)?;
        // A step that failed has changed nothing, and does not count.
        self.steps.copy_(&steps);
        Ok(())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = parameters::state(&self.slots, ["exp_avg", "exp_avg_sq"]);
        let steps = (0..).zip(&self.slots).map(|(i, slot)| (format!("{}.step", slot.name), self.steps.narrow(0, i, 1)));
        state.extend(steps);
        state.sort_by(|a, b| a.0.cmp(&b.0));
        state
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let is_count = |name: &str| self.slots.iter().any(|slot| name.strip_suffix(".step") == Some(&slot.name));
        for (name, tensor) in state.iter().filter(|(name, _)| is_count(name)) {
            if tensor.numel() > 0 && tensor.min().double_value(&[]) < 0.0 {
                let problem = format!("it is {}, but has to be at least 0", tensor.min().int64_value(&[]));
                return Err(Error::Checkpoint(CheckpointError::StateMismatch { name: name.clone(), problem }));
            }
        }
        parameters::load(self.state(), state)
    }
}

/// Returns the number of its step for each of the variables that have a gradient, as `f32` on its device. Variables with
/// the same number share a tensor.
fn numbers(steps: &Tensor, has_gradient: &[bool], parameters: &[&Tensor]) -> Result<Vec<Tensor>> {
    let steps = Vec::<i64>::try_from(steps).map_err(Error::libtorch("numbers of steps"))?;
    let mut tensors = Vec::<(i64, Tensor)>::new();
    let steps = steps.into_iter().zip(has_gradient).filter_map(|(step, has)| has.then_some(step));
    let numbers = steps.zip(parameters).map(|(step, parameter)| {
        if let Some((_, tensor)) = tensors.iter().find(|(other, _)| *other == step) {
            return tensor.shallow_clone();
        }
        let tensor = Tensor::from(step as f32).to_device(parameter.device());
        tensors.push((step, tensor.shallow_clone()));
        tensor
    });
    Ok(numbers.collect())
}
