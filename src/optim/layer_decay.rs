//! Learning rates that decay from the last layers of a network to its first.

use super::range::check;
use super::rule::{ParameterInfo, Rule};
use crate::error::ConfigError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Layer-wise learning-rate decay: each stage of a network has the learning rate of the stage behind it times `decay`,
/// so that the first layers of a pretrained network change least.
///
/// A DenseNet's stages are its stem, each dense block, each transition, the last norm and the classifier. The rates of
/// [groups](super::ParameterGroup) decay too: a parameter's rate is that of its group times `decay` to the power of the
/// number of stages behind its own.
///
/// # Examples
///
/// ```
/// use densenet::optim::{AdamWConfig, LayerDecay};
///
/// let densenet = AdamWConfig::new(1e-3).with_layer_decay(0.75);
///
/// // A model of your own: two stages, by name.
/// let stages = LayerDecay::new(0.75).with_stages("body, head", |parameter| match parameter.name.split('.').next() {
///     Some("head") => 1,
///     _ => 0,
/// });
/// let own = AdamWConfig::new(1e-3).with_layer_decay(stages);
/// # let _ = (densenet, own);
/// ```
///
/// # Source
///
/// Howard & Ruder: *Universal Language Model Fine-tuning for Text Classification*, ACL 2018, section 3.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerDecay {
    decay: f64,
    /// The stages of a model of your own; `None` for those of a DenseNet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stages: Option<Rule<usize>>,
}

impl From<f64> for LayerDecay {
    fn from(decay: f64) -> Self {
        LayerDecay::new(decay)
    }
}

impl LayerDecay {
    /// Multiplies the learning rates by `decay`, in (0, 1], from each stage of a DenseNet to the one before it.
    pub fn new(decay: f64) -> Self {
        LayerDecay { decay, stages: None }
    }

    /// Sets the stages of another model: a function from a parameter's name and shape to the number of its stage. Only
    /// the order of the numbers counts, and the largest is nearest to the output. The function has a name, as in
    /// [`ParameterGroup::matching`](super::ParameterGroup::matching).
    #[must_use]
    pub fn with_stages(
        mut self,
        name: impl Into<String>,
        stages: impl Fn(&ParameterInfo) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.stages = Some(Rule::new(name, stages));
        self
    }

    /// Returns the factor of each parameter's learning rate.
    pub(super) fn factors(&self, parameters: &[ParameterInfo]) -> Result<Vec<f64>> {
        check("layer decay", self.decay, self.decay > 0.0 && self.decay <= 1.0, "a number in (0, 1]")?;
        let stage = |parameter: &ParameterInfo| match &self.stages {
            Some(rule) => rule.call(parameter),
            None => densenet_stage(&parameter.name)
                .ok_or_else(|| Error::Config(ConfigError::UnknownStage { variable: parameter.name.clone() })),
        };
        let stages: Vec<usize> = parameters.iter().map(stage).collect::<Result<_>>()?;
        let distinct: BTreeSet<usize> = stages.iter().copied().collect();
        Ok(stages
            .iter()
            .map(|&stage| self.decay.powi(distinct.iter().filter(|&&other| other > stage).count() as i32))
            .collect())
    }
}

/// Returns the stage of a variable of a DenseNet, whatever the path that the network was built at.
fn densenet_stage(name: &str) -> Option<usize> {
    let (last_norm, classifier) = (usize::MAX - 2, usize::MAX - 1);
    let mut components = name.split('.').skip_while(|component| !["features", "classifier"].contains(component));
    if components.next()? == "classifier" {
        return Some(classifier);
    }
    let part = components.next()?;
    let number = |kind: &str| part.strip_prefix(kind)?.parse::<usize>().ok().filter(|&number| number < 1 << 32);
    if part == "norm5" {
        Some(last_norm)
    } else if number("conv").or(number("norm")).is_some() {
        Some(0)
    } else if let Some(block @ 1..) = number("denseblock") {
        Some(2 * block - 1)
    } else {
        number("transition").map(|transition| 2 * transition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_a_densenet_are_in_its_order_whatever_its_path() {
        let in_order = [
            "features.conv0.weight",
            "net.features.denseblock1.denselayer2.norm1.bias",
            "features.transition1.conv.weight",
            "features.denseblock2.denselayer1.conv1.weight",
            "features.denseblock10.denselayer1.conv1.weight",
            "a.b.features.norm5.weight",
            "classifier.bias",
        ];
        let stages = in_order.map(|name| densenet_stage(name).unwrap());
        assert!(stages.is_sorted_by(|a, b| a < b), "{stages:?}");
        assert_eq!(densenet_stage("features.norm0.bias"), densenet_stage("features.conv0.weight"));
        for other in ["layer1.0.conv1.weight", "features", "features.pool0", "features.denseblock0.x", "weight"] {
            assert_eq!(densenet_stage(other), None, "{other}");
        }
    }

    #[test]
    fn stages_may_have_any_numbers() {
        let of = |name: &str| ParameterInfo { name: name.to_owned(), shape: vec![1] };
        let decay = LayerDecay::new(0.5)
            .with_stages("by length", |parameter| if parameter.name.len() == 1 { usize::MAX } else { 0 });
        assert_eq!(decay.factors(&[of("a"), of("bb"), of("c")]).unwrap(), [1.0, 0.5, 1.0]);
    }
}
