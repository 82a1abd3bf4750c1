//! Stochastic gradient descent with momentum.

use super::Optimizer;
use super::parameters::{self, Slot, WithGradients, check};
use crate::Result;
use crate::torch::{SgdStep, sgd_step};
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
    }
}

impl SgdConfig {
    /// Creates a configuration of plain gradient descent with this base learning rate.
    pub fn new(learning_rate: f64) -> Self {
        SgdConfig { learning_rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Nesterov's momentum instead of the classical one, as in the paper's recipes; in (0, 1).
    #[must_use]
    pub fn with_nesterov_momentum(mut self, momentum: f64) -> Self {
        (self.momentum, self.nesterov) = (momentum, true);
        self
    }

    /// Builds the optimizer for all trainable variables of `vs`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue),
    /// [`ConfigError::NothingToTrain`](crate::error::ConfigError::NothingToTrain).
    pub fn build(&self, vs: &VarStore) -> Result<Box<dyn Optimizer>> {
        check("learning rate", self.learning_rate, self.learning_rate > 0.0, "a positive number")?;
        check("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "a number in [0, 1)")?;
        check("weight decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")?;
        if self.nesterov {
            check("momentum", self.momentum, self.momentum > 0.0, "above 0, as Nesterov's momentum is asked for")?;
        }
        let slots = match self.momentum > 0.0 {
            true => Slots::Momentum(parameters::slots(vs)?),
            false => Slots::Plain(parameters::slots(vs)?),
        };
        Ok(Box::new(Sgd { config: self.clone(), slots }))
    }
}

/// The optimizer and its state.
#[derive(Debug)]
struct Sgd {
    config: SgdConfig,
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
        serde_json::json!({ "sgd": self.config })
    }

    fn zero_grad(&mut self) -> Result<()> {
        match &self.slots {
            Slots::Plain(slots) => parameters::zero_grad(slots),
            Slots::Momentum(slots) => parameters::zero_grad(slots),
        }
    }

    fn step(&mut self, learning_rate: f64) -> Result<()> {
        let SgdConfig { momentum, nesterov, weight_decay, .. } = self.config;
        let step = SgdStep { learning_rate, momentum, nesterov, weight_decay };
        match &self.slots {
            Slots::Plain(slots) => {
                let WithGradients { parameters, gradients, state: [] } = WithGradients::of(slots);
                sgd_step(&parameters, &gradients, &[], &step)
            }
            Slots::Momentum(slots) => {
                let WithGradients { parameters, gradients, state: [momenta] } = WithGradients::of(slots);
                sgd_step(&parameters, &gradients, &momenta, &step)
            }
        }
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        match &self.slots {
            Slots::Plain(_) => Vec::new(),
            Slots::Momentum(slots) => parameters::state(slots, ["momentum_buffer"]),
        }
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        parameters::load(self.state(), state)
    }
}
