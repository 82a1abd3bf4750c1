//! Stochastic gradient descent with momentum.

use super::group::ParameterGroup;
use super::layer_decay::LayerDecay;
use super::optimizer::{Optimizer, configuration};
use super::parameters::{self, Slot, Stepped};
use super::range::check;
use super::table::{ParameterTable, table};
use crate::Result;
use crate::torch::{Rate, SgdStep, sgd_step};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

config! {
    /// Configuration of stochastic gradient descent: v ← m·v + (g + decay·p); p ← p − rate·v, or p ← p − rate·(g +
    /// decay·p + m·v) with Nesterov momentum.
    ///
    /// Its steps equal those of PyTorch's SGD, where momentum starts with the first gradient; here it follows from v
    /// = 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::optim::SgdConfig;
    /// use densenet::tch::{Device, nn};
    ///
    /// let vs = nn::VarStore::new(Device::Cpu);
    /// let _layer = nn::linear(vs.root(), 3, 2, Default::default());
    /// let sgd = SgdConfig::new(0.1).with_nesterov_momentum(0.9).with_weight_decay(1e-4).build(&vs)?;
    /// assert_eq!(sgd.state().len(), 2);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct SgdConfig {
        /// Base learning rate, above 0. A [`Schedule`](super::Schedule) computes the rate of each step from it.
        pub learning_rate: f64,
        /// Momentum, in [0, 1). Default 0.
        pub momentum: f64 => with_momentum,
        /// Choice between classical and Nesterov momentum.
        pub(crate) nesterov: bool,
        /// Factor of the L2 penalty, at least 0, which is added to the gradient. Default 0.
        pub weight_decay: f64 => with_weight_decay,
        /// Groups of parameters with values of their own, in the order in which they apply. Default: none.
        pub groups: Vec<ParameterGroup> [serde(default, skip_serializing_if = "Vec::is_empty")],
        /// Decay of the learning rates from the last stage of the network to the first.
        pub(crate) layer_decay: Option<LayerDecay> [serde(default, skip_serializing_if = "Option::is_none")],
    }
}

impl SgdConfig {
    /// Creates a configuration of plain gradient descent with this base learning rate.
    pub fn new(learning_rate: f64) -> Self {
        SgdConfig {
            learning_rate,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            groups: Vec::new(),
            layer_decay: None,
        }
    }

    /// Nesterov's momentum instead of the classical one, as in the paper's recipes; in (0, 1).
    #[must_use]
    pub fn with_nesterov_momentum(mut self, momentum: f64) -> Self {
        (self.momentum, self.nesterov) = (momentum, true);
        self
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
        let slots = match self.momentum > 0.0 {
            true => Slots::Momentum(parameters::slots(vs, &table)?),
            false => Slots::Plain(parameters::slots(vs, &table)?),
        };
        let identity = self.has_rates().then(|| table.identity());
        Ok(Box::new(Sgd { config: self.clone(), identity, slots }))
    }

    /// Whether parameters may have rates of their own.
    fn has_rates(&self) -> bool {
        !self.groups.is_empty() || self.layer_decay.is_some()
    }

    fn check(&self) -> Result<()> {
        check("learning rate", self.learning_rate, self.learning_rate > 0.0, "a positive number")?;
        check("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "a number in [0, 1)")?;
        check("weight decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")?;
        if self.nesterov {
            check("momentum", self.momentum, self.momentum > 0.0, "above 0, as Nesterov's momentum is asked for")?;
        }
        Ok(())
    }
}

/// The optimizer and its state.
#[derive(Debug)]
struct Sgd {
    config: SgdConfig,
    /// The rates of all parameters where they differ, for the run's identity.
    identity: Option<serde_json::Value>,
    slots: Slots,
}

#[derive(Debug)]
enum Slots {
    Plain(Vec<Slot<0>>),
    Momentum(Vec<Slot<1>>),
}

impl Optimizer for Sgd {
    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn configuration(&self) -> serde_json::Value {
        configuration("sgd", &self.config, self.identity.as_ref())
    }

    fn zero_grad(&mut self) -> Result<()> {
        match &self.slots {
            Slots::Plain(slots) => parameters::zero_grad(slots),
            Slots::Momentum(slots) => parameters::zero_grad(slots),
        }
    }

    fn step(&mut self, learning_rate: f64) -> Result<()> {
        let SgdConfig { momentum, nesterov, learning_rate: base, .. } = self.config;
        let step = SgdStep { momentum, nesterov };
        match &mut self.slots {
            Slots::Plain(slots) => {
                parameters::allocate(slots)?;
                let Stepped { parameters, gradients, rates, state: [] } = Stepped::of(slots, base, learning_rate);
                sgd_step(&parameters, &gradients, &[], &rates, &step)
            }
            Slots::Momentum(slots) => {
                parameters::allocate(slots)?;
                let Stepped { parameters, gradients, rates, state: [momenta] } =
                    Stepped::of(slots, base, learning_rate);
                sgd_step(&parameters, &gradients, &momenta, &rates, &step)
            }
        }
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        match &self.slots {
            Slots::Plain(_) => Vec::new(),
            Slots::Momentum(slots) => parameters::state(slots, KINDS),
        }
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let Slots::Momentum(slots) = &mut self.slots else { return parameters::load(Vec::new(), state) };
        let before = parameters::fit_to(slots, KINDS, state)?;
        let loaded = parameters::load(parameters::state(slots, KINDS), state);
        if loaded.is_err() {
            parameters::revert(slots, before);
        }
        loaded
    }
}

/// The names of the optimizer's tensors.
const KINDS: [&str; 1] = ["momentum_buffer"];
