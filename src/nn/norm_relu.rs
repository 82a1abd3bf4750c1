//! Batch normalization followed by ReLU, as everywhere in a DenseNet.

use super::conv::{check_path, checked};
use super::{Features, ForwardContext, Statistics};
use crate::error::InputError;
use crate::torch::no_grad;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{Init, Path};

config! {
    /// The constants of batch normalization, the same for all norms of a network.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct NormReluConfig {
        /// ε, added to the variance; positive. Default 1e-5.
        pub epsilon: f64 => with_epsilon,
        /// Weight of a batch's statistics in the update of the running statistics, in [0, 1]. Default 0.1.
        pub momentum: f64 => with_momentum,
    }
}

impl Default for NormReluConfig {
    fn default() -> Self {
        NormReluConfig { epsilon: 1e-5, momentum: 0.1 }
    }
}

impl NormReluConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |field, value: f64, expected| Error::invalid_value(field, value, expected);
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(invalid("epsilon", self.epsilon, "a positive number"));
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(invalid("momentum of the running statistics", self.momentum, "a number in [0, 1]"));
        }
        Ok(())
    }

    /// Builds a norm over `channels` channels with the variables `weight` (1 at the start), `bias`, `running_mean`,
    /// `running_var`.
    pub(crate) fn build(&self, path: &Path, channels: usize) -> Result<NormRelu> {
        self.check()?;
        Error::at_least_one("channels of a norm", channels)?;
        checked("channels of a norm", Some(channels))?;
        check_path(path)?;
        let shape = [channels as i64];
        Ok(NormRelu {
            weight: path.var("weight", &shape, Init::Const(1.0)),
            bias: path.var("bias", &shape, Init::Const(0.0)),
            running_mean: path.zeros_no_train("running_mean", &shape),
            running_var: path.ones_no_train("running_var", &shape),
            config: *self,
            name: path.path("weight").trim_end_matches("weight").trim_end_matches('.').to_owned(),
        })
    }
}

/// Computes γ·(x − μ)/√(σ² + ε) + β, then ReLU.
#[derive(Debug)]
pub(crate) struct NormRelu {
    /// γ per channel, `[C]`.
    pub weight: Tensor,
    /// β per channel, `[C]`.
    pub bias: Tensor,
    /// Running mean per channel, `[C]`.
    pub running_mean: Tensor,
    /// Unbiased running variance per channel, `[C]`.
    pub running_var: Tensor,
    config: NormReluConfig,
    /// Prefix of the norm's variables.
    name: String,
}

impl NormRelu {
    /// Normalizes and rectifies features `[N, C, H, W]`, by libtorch's own operations.
    ///
    /// In training mode it uses the statistics that came with the features, if any, and updates the running statistics.
    pub fn forward(&self, features: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        self.check(&features.data, ctx)?;
        let statistics = features.statistics(self.config.epsilon).filter(|_| ctx.mode.uses_batch_statistics());
        Ok(match statistics {
            Some(statistics) => self.with_statistics(&features.data, statistics),
            None => features
                .data
                .batch_norm(
                    Some(&self.weight),
                    Some(&self.bias),
                    Some(&self.running_mean),
                    Some(&self.running_var),
                    ctx.mode.uses_batch_statistics(),
                    self.config.momentum,
                    self.config.epsilon,
                    true,
                )
                .relu_(),
        })
    }

    /// Checks that features have the norm's channels, pixels and, in training, more than one value per channel: with one
    /// the variance is undefined, and libtorch would silently leave NaN in `running_var`.
    pub(super) fn check(&self, x: &Tensor, ctx: &ForwardContext) -> Result<()> {
        let (size, channels) = (x.size(), self.weight.numel());
        let &[n, c, h, w] = &size[..] else { return Err(self.shape_error(size)) };
        if c != channels as i64 {
            return Err(self.shape_error(size));
        }
        let [batch, height, width] = [n, h, w].map(|size| size as usize);
        if height * width == 0 {
            let layer = self.name.clone();
            return Err(Error::Input(InputError::InputTooSmall { height, width, layer, smallest: 1 }));
        }
        if ctx.mode.uses_batch_statistics() && batch * height * width <= 1 {
            return Err(Error::Input(InputError::OneValuePerChannel {
                batch,
                height,
                width,
                layer: self.name.clone(),
            }));
        }
        Ok(())
    }

    fn shape_error(&self, actual: Vec<i64>) -> Error {
        Error::Input(InputError::InputShape { actual, expected: format!("[N, {}, H, W]", self.weight.numel()) })
    }

    /// Returns the prefix of the norm's variables, such as `features.norm0`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the constants of the norm.
    pub(super) fn config(&self) -> &NormReluConfig {
        &self.config
    }

    fn with_statistics(&self, x: &Tensor, statistics: &Statistics) -> Tensor {
        self.update_running_statistics((x.numel() / self.weight.numel()) as f64, statistics);
        let per_channel = |t: &Tensor| t.view([1, -1, 1, 1]);
        let scale = &self.weight * &statistics.rstd;
        // The deviation is computed first: far from 0, x·scale and mean·scale would lose the bits in which they differ.
        let y = (x - per_channel(&statistics.mean)) * per_channel(&scale) + per_channel(&self.bias);
        y.to_kind(x.kind()).relu_()
    }

    /// Updates the running statistics with those of a batch with `values` values per channel.
    pub(super) fn update_running_statistics(&self, values: f64, statistics: &Statistics) {
        no_grad(|| {
            let variance = statistics.rstd.pow_tensor_scalar(-2) - self.config.epsilon;
            let unbiased = variance * (values / (values - 1.0));
            let mut mean = self.running_mean.shallow_clone();
            let mut var = self.running_var.shallow_clone();
            // The variables may have another dtype than the statistics.
            let _ = mean.lerp_(&statistics.mean.detach().to_kind(mean.kind()), self.config.momentum);
            let _ = var.lerp_(&unbiased.to_kind(var.kind()), self.config.momentum);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigError;
    use crate::nn::Mode;
    use tch::{Device, Kind, nn::VarStore};

    /// Output, gradients and running statistics after one training step on `x`.
    fn step(with_statistics: bool) -> Vec<Tensor> {
        let mut vs = VarStore::new(Device::Cpu);
        let norm = NormReluConfig::default().build(&vs.root(), 3).unwrap();
        vs.double();
        no_grad(|| {
            norm.weight.shallow_clone().copy_(&Tensor::from_slice(&[1.5, -0.5, 0.0]));
            norm.bias.shallow_clone().copy_(&Tensor::from_slice(&[0.1, 0.2, -0.3]));
        });
        let x = (Tensor::arange(4 * 3 * 5 * 7, (Kind::Double, Device::Cpu)) * 0.37).sin().view([4, 3, 5, 7]);
        let x = x.set_requires_grad(true);
        let features = match with_statistics {
            true => Features::with_statistics(x.shallow_clone(), Statistics::of(&x, 1e-5), 1e-5),
            false => Features::new(x.shallow_clone()),
        };
        let y = norm.forward(&features, &ForwardContext::new(Mode::Train)).unwrap();
        let projection = Tensor::arange(y.numel() as i64, (Kind::Double, Device::Cpu)).cos().view_as(&y);
        (&y * projection).sum(None::<Kind>).backward();
        vec![y.detach(), x.grad(), norm.weight.grad(), norm.bias.grad(), norm.running_mean, norm.running_var]
    }

    #[test]
    fn statistics_that_came_along_give_what_batch_norm_gives() {
        for (own, given) in step(false).iter().zip(step(true)) {
            let deviation = (own - given).abs().max().double_value(&[]);
            assert!(deviation < 1e-12, "{deviation}");
        }
    }

    #[test]
    fn constants_out_of_range_are_errors_that_name_them() {
        let vs = VarStore::new(Device::Cpu);
        for (config, word) in [
            (NormReluConfig::default().with_epsilon(0.0), "epsilon"),
            (NormReluConfig::default().with_epsilon(f64::NAN), "epsilon"),
            (NormReluConfig::default().with_momentum(1.5), "momentum"),
        ] {
            let error = config.build(&vs.root(), 3).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let build = |channels| NormReluConfig::default().build(&vs.root(), channels);
        assert!(matches!(build(0), Err(Error::Config(ConfigError::InvalidValue { field: "channels of a norm", .. }))));
        assert!(matches!(build(1 << 40), Err(Error::Config(ConfigError::Overflow { .. }))));
        assert_eq!(vs.len(), 0);
    }

    #[test]
    fn building_twice_at_one_path_is_an_error() {
        let vs = VarStore::new(Device::Cpu);
        let path = vs.root() / "norm";
        NormReluConfig::default().build(&path, 3).unwrap();
        let error = NormReluConfig::default().build(&path, 3).unwrap_err().to_string();
        assert!(error.contains("norm.weight"), "{error}");
    }
}
