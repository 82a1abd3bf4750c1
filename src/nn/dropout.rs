//! Dropout: its rate and its places in a network.

use super::ForwardContext;
use crate::error::ConfigError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The convolutions after which values are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropoutPlace {
    /// After the last convolution of each dense layer, as in torchvision.
    #[default]
    LayerOutput,
    /// After every convolution but the stem's: 1×1, 3×3 and the transitions', as in the paper's own code.
    EveryConv,
}

/// Configuration of the dropout of a network or a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dropout {
    /// Probability with which a value is set to 0 in training, in [0, 1). Default 0; the paper uses 0.2 on small data
    /// sets without augmentation.
    pub rate: f64,
    /// The convolutions after which values are dropped. Default: the last one of each dense layer.
    pub place: DropoutPlace,
}

impl Dropout {
    /// Creates dropout with this rate after each dense layer.
    pub fn new(rate: f64) -> Self {
        Dropout { rate, ..Default::default() }
    }

    setters! {
        with_place => place: DropoutPlace,
    }

    pub(crate) fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Error::Config(ConfigError::InvalidValue {
            field: "drop rate",
            value: self.rate.to_string(),
            expected: "a number in [0, 1)",
        }))
    }

    /// Applies dropout to the output of a dense layer.
    pub(crate) fn after_layer(&self, x: Tensor, ctx: &ForwardContext) -> Tensor {
        match ctx.drops(self) {
            true => x.dropout(self.rate, true),
            false => x,
        }
    }

    /// Applies dropout to the output of any other convolution.
    pub(crate) fn after_inner_conv(&self, x: Tensor, ctx: &ForwardContext) -> Tensor {
        match self.place {
            DropoutPlace::LayerOutput => x,
            DropoutPlace::EveryConv => self.after_layer(x, ctx),
        }
    }
}
