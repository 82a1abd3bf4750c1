//! Adam with decoupled weight decay.

use super::group::ParameterGroup;
use super::layer_decay::LayerDecay;
use super::optimizer::{Optimizer, configuration};
use super::parameters::{self, Slot, Stepped};
use super::range::check;
use super::table::{ParameterTable, table};
use crate::error::CheckpointError;
use crate::torch::{AdamWStep, Rate, adamw_step, no_grad};
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
        /// Groups of parameters with values of their own, in the order in which they apply. Default: none.
        pub groups: Vec<ParameterGroup> [serde(default, skip_serializing_if = "Vec::is_empty")],
        /// Decay of the learning rates from the last stage of the network to the first.
        pub(crate) layer_decay: Option<LayerDecay> [serde(default, skip_serializing_if = "Option::is_none")],
    }
}

impl AdamWConfig {
    /// Creates a configuration with PyTorch's defaults and this base learning rate.
    pub fn new(learning_rate: f64) -> Self {
        AdamWConfig {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            groups: Vec::new(),
            layer_decay: None,
        }
    }

    /// Adds a [group](ParameterGroup) of parameters with a learning rate or a weight decay of its own, after those that
    /// were added before. Default: none.
    #[must_use]
    pub fn with_group(mut self, group: ParameterGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Multiplies the learning rates by a factor in (0, 1] from each stage of the network to the one before it; of a
    /// model other than a DenseNet, [`LayerDecay::with_stages`] says the stages. Default: without.
    #[must_use]
    pub fn with_layer_decay(mut self, decay: impl Into<LayerDecay>) -> Self {
        self.layer_decay = Some(decay.into());
        self
    }

    /// Lists the learning rate and the weight decay that the optimizer has for each parameter, which `Display` prints
    /// as a table.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), except that nothing is trainable.
    pub fn parameters(&self, vs: &VarStore) -> Result<ParameterTable> {
        self.check()?;
        let base = Rate { learning_rate: self.learning_rate, weight_decay: self.weight_decay };
        table(vs, base, &self.groups, self.layer_decay.as_ref())
    }

    /// Builds the optimizer for all parameters of `vs`. One that is frozen is not changed until it is
    /// [unfrozen](crate::nn::unfreeze).
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue);
    /// [`ConfigError::NothingSelected`](crate::error::ConfigError::NothingSelected) for a group without parameters;
    /// [`ConfigError::UnknownStage`](crate::error::ConfigError::UnknownStage);
    /// [`ConfigError::NothingToTrain`](crate::error::ConfigError::NothingToTrain) where all parameters are frozen.
    pub fn build(&self, vs: &VarStore) -> Result<Box<dyn Optimizer>> {
        let table = self.parameters(vs)?;
        let slots = parameters::slots(vs, &table)?;
        let steps = Tensor::zeros([slots.len() as i64], (Kind::Int64, Device::Cpu));
        let has_rates = !self.groups.is_empty() || self.layer_decay.is_some();
        let identity = has_rates.then(|| table.identity());
        Ok(Box::new(AdamW { config: self.clone(), identity, slots, steps }))
    }

    fn check(&self) -> Result<()> {
        check("learning rate", self.learning_rate, self.learning_rate > 0.0, "a positive number")?;
        check("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "a number in [0, 1)")?;
        check("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "a number in [0, 1)")?;
        check("epsilon of AdamW", self.epsilon, self.epsilon > 0.0, "a positive number")?;
        check("weight decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")
    }
}

/// The optimizer and its state.
#[derive(Debug)]
struct AdamW {
    config: AdamWConfig,
    /// The rates of all parameters where they differ, for the run's identity.
    identity: Option<serde_json::Value>,
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
        configuration("adamw", &self.config, self.identity.as_ref())
    }

    fn zero_grad(&mut self) -> Result<()> {
        parameters::zero_grad(&self.slots)
    }

    fn step(&mut self, learning_rate: f64) -> Result<()> {
        let AdamWConfig { beta1, beta2, epsilon, learning_rate: base, .. } = self.config;
        parameters::allocate(&mut self.slots)?;
        let Stepped { parameters, gradients, rates, state: [first, second] } =
            Stepped::of(&self.slots, base, learning_rate);
        let is_stepped: Vec<_> = self.slots.iter().map(Slot::is_stepped).collect();
        let steps = &self.steps + Tensor::from_slice(&is_stepped).to_kind(Kind::Int64);
        let numbers = numbers(&steps, &is_stepped, &parameters)?;
        let step = AdamWStep { beta1, beta2, epsilon };
        adamw_step(&parameters, &gradients, &first, &second, &numbers, &rates, &step)?;
        // A step that failed has changed nothing, and does not count.
        self.steps.copy_(&steps);
        Ok(())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = parameters::state(&self.slots, KINDS);
        let with_state = (0..).zip(&self.slots).filter(|(_, slot)| slot.state.is_some());
        state.extend(with_state.map(|(i, slot)| (format!("{}.step", slot.name), self.steps.narrow(0, i, 1))));
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
        let before = parameters::fit_to(&mut self.slots, KINDS, state)?;
        let loaded = parameters::load(self.state(), state);
        if loaded.is_err() {
            parameters::revert(&mut self.slots, before);
            return loaded;
        }
        // A parameter without state has made no step.
        let has_state: Vec<_> = self.slots.iter().map(|slot| slot.state.is_some()).collect();
        no_grad(|| self.steps.copy_(&(&self.steps * Tensor::from_slice(&has_state).to_kind(Kind::Int64))));
        Ok(())
    }
}

/// The names of the moments.
const KINDS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// Returns the number of its step for each of the parameters that a step changes, as `f32` on its device. Variables
/// with the same number share a tensor.
fn numbers(steps: &Tensor, is_stepped: &[bool], parameters: &[&Tensor]) -> Result<Vec<Tensor>> {
    let steps = Vec::<i64>::try_from(steps).map_err(Error::libtorch("numbers of steps"))?;
    let mut tensors = Vec::<(i64, Tensor)>::new();
    let steps = steps.into_iter().zip(is_stepped).filter_map(|(step, has)| has.then_some(step));
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
