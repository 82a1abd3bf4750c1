//! Dropout: its rate, its places in a network, and its masks.

use super::ForwardContext;
use crate::kernels::{DropMask, drop, scramble, scramble_name};
use crate::torch::{Number, empty_channels_last, for_parts, is_tracing};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

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

    /// Returns the dropout after a convolution whose variables are under `path`. `is_layer_output` says whether it is the
    /// last one of a dense layer.
    pub(super) fn after_conv(&self, path: &Path, is_layer_output: bool) -> ConvDropout {
        let drops = is_layer_output || self.place == DropoutPlace::EveryConv;
        let rate = if drops { self.rate } else { 0.0 };
        ConvDropout { rate, stream: scramble_name(&path.path("weight")) }
    }
}

/// The dropout after one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvDropout {
    /// The rate in training; 0 where nothing is dropped.
    rate: f64,
    /// Random bits that follow from the convolution's name, so that no other one drops the same values.
    stream: u64,
}

impl ConvDropout {
    /// Returns the mask of a pass, a function of its seed and the convolution's name; `None` where nothing is dropped.
    pub fn mask(&self, ctx: &ForwardContext) -> Option<DropMask> {
        let key = scramble(scramble(ctx.seed) ^ self.stream);
        (ctx.mode.drops() && self.rate > 0.0).then(|| DropMask::new(key, self.rate))
    }
}

/// Applies a mask to the output `[N, C, H, W]` of a convolution, or to its gradient, by an operation of libtorch: drops
/// the values that the kernels drop.
///
/// On a GPU the mask is computed on the CPU and copied. While libtorch traces, its own dropout is recorded instead, since
/// a mask would be the same in every pass of the traced module.
pub(crate) fn drop_values(mask: Option<DropMask>, x: Tensor) -> Tensor {
    let Some(mask) = mask else { return x };
    if is_tracing() {
        return x.dropout(mask.rate(), true);
    }
    let size = <[i64; 4]>::try_from(x.size()).expect("features have four dimensions");
    let factors = match x.kind() {
        Kind::Double => factors::<f64>(mask, size),
        _ => factors::<f32>(mask, size),
    };
    (&x * factors.to_device(x.device())).to_kind(x.kind())
}

/// Returns the factors of all values in channels-last memory format: 0, or 1/(1 − rate).
fn factors<T: Number>(mask: DropMask, size: [i64; 4]) -> Tensor {
    const PART: usize = 1 << 16;
    let mut factors = empty_channels_last(size, T::KIND);
    let _ = factors.fill_(1.0);
    for_parts(&mut factors, PART, |part, values: &mut [T]| drop(values, (part * PART) as u64, mask));
    factors
}
