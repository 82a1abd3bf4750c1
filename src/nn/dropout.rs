//! Dropout: its rate and its places in a network.

use super::ForwardContext;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The convolutions after which values are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DropoutPlace {
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
    pub(crate) place: DropoutPlace,
}

impl Dropout {
    /// Dropout with this rate after the last convolution of each dense layer, as in torchvision.
    pub fn new(rate: f64) -> Self {
        Dropout { rate, ..Default::default() }
    }

    /// Drops after every convolution but the stem's (1×1, 3×3 and the transitions'), as in the paper's own code.
    #[must_use]
    pub fn after_every_conv(self) -> Self {
        Dropout { place: DropoutPlace::EveryConv, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Error::invalid_value("drop rate", self.rate, "a number in [0, 1)"))
    }

    /// Whether a pass drops values.
    pub(crate) fn drops_in(&self, ctx: &ForwardContext) -> bool {
        ctx.mode.drops() && self.rate > 0.0
    }

    /// Applies dropout to the output of a dense layer.
    pub(crate) fn after_layer(&self, x: Tensor, ctx: &ForwardContext) -> Tensor {
        match self.drops_in(ctx) {
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
