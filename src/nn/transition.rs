//! The transition between dense blocks: fewer channels, half the size.

use super::{
    ConvBias, ConvGeometry, Downsampling, Dropout, DropoutPlace, Features, ForwardContext, Initialization, Mode,
    NormRelu, NormReluConfig, blurred_half, checked, fused,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, ModuleT, Path};

/// Configuration of a [`TransitionBlock`].
///
/// # Examples
///
/// ```
/// use densenet::nn::TransitionBlockConfig;
/// use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let transition = TransitionBlockConfig::new(23, 10).build(&vs.root())?;
/// let x = Tensor::rand([4, 23, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(transition.forward_t(&x, true).size(), [4, 10, 4, 4]);
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// # Source
///
/// Huang et al. 2017, section 3, *Pooling layers* and *Compression*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransitionBlockConfig {
    /// Channels that the transition reads, at least 1.
    pub in_channels: usize,
    /// Channels that it writes, at least 1: compression θ times `in_channels` in the paper.
    pub out_channels: usize,
    /// Whether the convolution has a bias. Default: without.
    pub conv_bias: ConvBias,
    /// How weights start. Default: Kaiming, fan in.
    pub initialization: Initialization,
    /// ε and momentum of the norm.
    pub norm: NormReluConfig,
    /// Default: none. Only [`DropoutPlace::EveryConv`](super::DropoutPlace::EveryConv) concerns a transition.
    pub dropout: Dropout,
    /// How the maps become smaller. Default: by 2×2 average pooling.
    #[serde(default)]
    pub downsampling: Downsampling,
}

impl TransitionBlockConfig {
    /// A transition between these numbers of channels.
    pub fn new(in_channels: usize, out_channels: usize) -> Self {
        TransitionBlockConfig {
            in_channels,
            out_channels,
            conv_bias: ConvBias::default(),
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
            downsampling: Downsampling::default(),
        }
    }

    setters! {
        with_conv_bias => conv_bias: ConvBias,
        with_initialization => initialization: Initialization,
        with_norm => norm: NormReluConfig,
        with_dropout => dropout: Dropout,
        with_downsampling => downsampling: Downsampling,
    }

    pub(crate) fn conv(&self) -> ConvGeometry {
        ConvGeometry::same(self.in_channels, self.out_channels, 1, self.conv_bias)
    }

    /// Builds the transition with the variables `norm.*` and `conv.*` under `path`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`], [`Error::VariableExists`].
    pub fn build(&self, path: &Path) -> Result<TransitionBlock> {
        for (field, value) in [
            ("input channels of a transition", self.in_channels),
            ("output channels of a transition", self.out_channels),
        ] {
            Error::at_least_one(field, value)?;
            checked(field, Some(value))?;
        }
        self.dropout.check()?;
        Ok(TransitionBlock {
            norm: self.norm.build(&(path / "norm"), self.in_channels)?,
            conv: self.conv().build(&(path / "conv"), self.initialization)?,
            dropout: self.dropout,
            downsampling: self.downsampling,
        })
    }
}

/// Norm → ReLU → 1×1 convolution → 2×2 average pooling, or a blur.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, out_channels, ⌊H/2⌋, ⌊W/2⌋]`; with a blur sizes are rounded up.
#[derive(Debug)]
pub struct TransitionBlock {
    norm: NormRelu,
    conv: nn::Conv2D,
    dropout: Dropout,
    downsampling: Downsampling,
}

impl TransitionBlock {
    /// Whether values are dropped between the convolution and the pooling.
    fn drops(&self, ctx: &ForwardContext) -> bool {
        self.dropout.place == DropoutPlace::EveryConv && ctx.drops(&self.dropout)
    }

    /// Compresses and halves the features.
    pub fn forward(&self, features: &Features, ctx: &ForwardContext) -> Features {
        let pools = self.downsampling == Downsampling::Pool;
        if pools && ctx.fused() && fused::takes(&features.data) && !self.drops(ctx) {
            self.norm.check(&features.data, ctx);
            // Averages and a 1×1 convolution commute, and a quarter of the pixels is left to convolve.
            let kind = features.data.kind();
            let pooled = fused::norm_relu_average_pool(features, &self.norm, [2, 2], kind, ctx);
            return Features::new(self.conv.forward(&pooled.unwrap_or_else(|error| panic!("{error}"))));
        }
        let y = self.conv.forward(&self.norm.forward(features, ctx));
        let y = self.dropout.after_inner_conv(y, ctx);
        Features::new(match self.downsampling {
            // Not tch's avg_pool2d_default: its divisor is 1, so that it sums.
            Downsampling::Pool => y.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            Downsampling::Blur => blurred_half(&y),
        })
    }
}

impl ModuleT for TransitionBlock {
    /// # Panics
    ///
    /// If `xs` has other channels than the transition was built for, is smaller than 2×2, or, in training mode, has one value
    /// a channel.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.forward(&Features::new(xs.shallow_clone()), &ForwardContext::new(Mode::from(train))).data
    }
}
