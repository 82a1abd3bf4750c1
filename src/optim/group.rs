//! Groups of parameters with a learning rate or a weight decay of their own.

use super::range::check;
use super::rule::{ParameterInfo, Rule};
use crate::Result;
use crate::torch::has_prefix;
use serde::{Deserialize, Serialize};

/// A group of parameters with a learning rate or a weight decay of its own.
///
/// An optimizer's configuration takes any number of groups. Every group that selects a parameter applies to it; where
/// several set the same value, the last one wins. A parameter that no group selects has the optimizer's own values. A
/// group that selects nothing is an error of `build`, so that a misspelled name is not ignored.
///
/// # Examples
///
/// ```
/// use densenet::optim::{ParameterGroup, SgdConfig};
/// use densenet::{DenseNetConfig, tch::Device, tch::nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// DenseNetConfig::new(3).with_growth_rate(8).with_layers_per_block([2, 2]).build(&vs.root())?;
/// let config = SgdConfig::new(0.001)
///     .with_weight_decay(1e-4)
///     .with_group(ParameterGroup::norms_and_biases().with_weight_decay(0.0))
///     .with_group(ParameterGroup::prefix("classifier").with_learning_rate(0.01));
/// println!("{}", config.parameters(&vs)?);   // which parameters have which values
/// let optimizer = config.build(&vs)?;
/// # let _ = optimizer;
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterGroup {
    selector: Selector,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
}

/// The parameters that a group consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Selector {
    Prefix(String),
    NormsAndBiases,
    Matching(Rule<bool>),
}

impl ParameterGroup {
    fn of(selector: Selector) -> Self {
        ParameterGroup { selector, learning_rate: None, weight_decay: None }
    }

    /// Selects the parameters whose names begin with `prefix`. It consists of whole components:
    /// `features.denseblock1` does not select `features.denseblock10`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::of(Selector::Prefix(prefix.into()))
    }

    /// Selects the parameters of at most one dimension: the weights and biases of norms, and all other biases. Usually
    /// weight decay is 0 for them.
    pub fn norms_and_biases() -> Self {
        Self::of(Selector::NormsAndBiases)
    }

    /// Selects the parameters for which a function of their name and shape returns `true`.
    ///
    /// The function has a name, by which a configuration is printed, compared and saved as JSON. A configuration that
    /// was read from JSON does not have the function, and its `build` returns an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::optim::{AdamWConfig, ParameterGroup};
    ///
    /// let pointwise = ParameterGroup::matching("1×1 convolutions", |parameter| parameter.shape.ends_with(&[1, 1]));
    /// let config = AdamWConfig::new(1e-3).with_group(pointwise.with_weight_decay(0.1));
    /// # let _ = config;
    /// ```
    pub fn matching(name: impl Into<String>, rule: impl Fn(&ParameterInfo) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Selector::Matching(Rule::new(name, rule)))
    }

    /// Sets the learning rate of the group, above 0. A [`Schedule`](super::Schedule) multiplies it by the factor by
    /// which it multiplies the optimizer's. Default: the optimizer's. [`freeze`](crate::nn::freeze) is what stops
    /// parameters.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = Some(learning_rate);
        self
    }

    /// Sets the weight decay of the group, at least 0. Default: the optimizer's.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = Some(weight_decay);
        self
    }

    /// Returns the learning rate that the group sets; `None` where it is the optimizer's.
    pub fn learning_rate(&self) -> Option<f64> {
        self.learning_rate
    }

    /// Returns the weight decay that the group sets; `None` where it is the optimizer's.
    pub fn weight_decay(&self) -> Option<f64> {
        self.weight_decay
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(rate) = self.learning_rate {
            check("learning rate of a group", rate, rate > 0.0, "a positive number; nn::freeze stops parameters")?;
        }
        self.weight_decay.map_or(Ok(()), |decay| check("weight decay of a group", decay, decay >= 0.0, "0 or more"))
    }

    pub(super) fn selects(&self, parameter: &ParameterInfo) -> Result<bool> {
        match &self.selector {
            Selector::Prefix(prefix) => Ok(has_prefix(&parameter.name, prefix)),
            Selector::NormsAndBiases => Ok(parameter.shape.len() <= 1),
            Selector::Matching(rule) => rule.call(parameter),
        }
    }

    /// Returns what the group selects, in words.
    pub(super) fn description(&self) -> String {
        match &self.selector {
            Selector::Prefix(prefix) => format!("the group of the prefix {prefix:?}"),
            Selector::NormsAndBiases => "the group of norms and biases".to_owned(),
            Selector::Matching(rule) => format!("the group {:?}", rule.name()),
        }
    }
}
