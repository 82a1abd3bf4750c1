//! The transition between dense blocks: fewer channels, half the size.

use super::input::check_tensor;
use super::{
    ConvDropout, ConvGeometry, Draws, Dropout, Features, ForwardContext, Initialization, NormRelu, NormReluConfig,
    blurred_half, checked, drop_values,
    fused::{self, Engine},
};
use crate::error::InputError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, ModuleT, Path};

config! {
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
        /// Number of input channels, at least 1.
        pub in_channels: usize,
        /// Number of output channels, at least 1: compression θ times `in_channels` in the paper.
        pub out_channels: usize,
        /// Whether the convolution has a bias. Default: without.
        pub(crate) conv_bias: bool => with_bias,
        /// The distribution of initial weights. Default: Kaiming, fan in.
        pub initialization: Initialization => with_initialization,
        /// ε and momentum of the norm. Default: 1e-5 and 0.1.
        pub norm: NormReluConfig => with_norm,
        /// Dropout in training. Default: none. Only [`Dropout::after_every_conv`] affects a transition.
        pub dropout: Dropout => with_dropout,
        /// Whether a blur halves the sides of the feature maps instead of average pooling.
        pub(crate) blur: bool [serde(default)],
    }
}

impl TransitionBlockConfig {
    /// Describes a transition from `in_channels` to `out_channels` channels.
    pub fn new(in_channels: usize, out_channels: usize) -> Self {
        TransitionBlockConfig {
            in_channels,
            out_channels,
            conv_bias: false,
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
            blur: false,
        }
    }

    /// Adds a bias, which starts at 0, to the convolution. Before a norm it has no effect, so that modern networks have
    /// none. Default: without.
    #[must_use]
    pub fn with_conv_bias(self) -> Self {
        self.with_bias(true)
    }

    /// Halves the sides of the feature maps by every second pixel of a 3×3 blur with binomial weights, timm's
    /// `BlurPool2d`. Default: by 2×2 average pooling.
    #[must_use]
    pub fn with_blur(self) -> Self {
        TransitionBlockConfig { blur: true, ..self }
    }

    pub(crate) fn conv(&self) -> ConvGeometry {
        ConvGeometry::same(self.in_channels, self.out_channels, 1, self.conv_bias)
    }

    /// Builds the transition with the variables `norm.*` and `conv.*` under `path`, as
    /// [`DenseBlockConfig::build`](super::DenseBlockConfig::build) does with initial weights from libtorch's generator.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a field outside its range, or where `path` has such variables already.
    pub fn build(&self, path: &Path) -> Result<TransitionBlock> {
        self.build_from(path, &Draws::Libtorch)
    }

    pub(crate) fn build_from(&self, path: &Path, draws: &Draws) -> Result<TransitionBlock> {
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
            conv: self.conv().build(&(path / "conv"), self.initialization, draws)?,
            dropout: self.dropout.after_conv(&(path / "conv"), false),
            blur: self.blur,
        })
    }
}

/// A transition: norm → ReLU → 1×1 convolution → 2×2 average pooling, or a blur instead.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, out_channels, ⌊H/2⌋, ⌊W/2⌋]`; with a blur sizes are rounded up.
#[derive(Debug)]
pub struct TransitionBlock {
    norm: NormRelu,
    conv: nn::Conv2D,
    /// Dropout between the convolution and the pooling.
    dropout: ConvDropout,
    blur: bool,
}

impl TransitionBlock {
    /// Compresses the features and halves their sides.
    ///
    /// # Errors
    ///
    /// [`InputError::InputShape`] if `features` are not `[N, C, H, W]` with the channels that the transition was built
    /// for, [`InputError::InputTooSmall`] if a side is shorter than 2 pixels, [`InputError::OneValuePerChannel`] in
    /// training on one value per channel, [`Error::Libtorch`].
    pub fn forward(&self, features: &Features, ctx: &ForwardContext) -> Result<Features> {
        self.check(&features.data, ctx)?;
        let mask = self.dropout.mask(ctx);
        if !self.blur && mask.is_none() && Engine::of(&features.data, ctx) == Engine::CpuKernels {
            // Average pooling and a 1×1 convolution commute, and a quarter of the pixels is left to convolve.
            let kind = features.data.kind();
            let pooled = fused::norm_relu_average_pool(features, &self.norm, [2, 2], kind, ctx)?;
            return Ok(Features::new(self.conv.forward(&pooled)));
        }
        let y = drop_values(mask, self.conv.forward(&self.norm.forward(features, ctx)?));
        Ok(Features::new(match self.blur {
            true => blurred_half(&y),
            // Not tch's avg_pool2d_default: its divisor is 1, so that it sums.
            false => y.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
        }))
    }

    fn check(&self, features: &Tensor, ctx: &ForwardContext) -> Result<()> {
        check_tensor(features, &self.conv.ws)?;
        self.norm.check(features, ctx)?;
        let [.., height, width] = features.size()[..] else { unreachable!("the norm has checked the rank") };
        if height.min(width) >= 2 {
            return Ok(());
        }
        let [height, width] = [height, width].map(|side| side as usize);
        Err(Error::Input(InputError::InputTooSmall { height, width, layer: self.norm.name().to_owned(), smallest: 2 }))
    }
}

impl ModuleT for TransitionBlock {
    /// # Panics
    ///
    /// Where [`forward`](TransitionBlock::forward) returns an error.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        let features = self.forward(&Features::new(xs.shallow_clone()), &ForwardContext::of_module(train));
        features.unwrap_or_else(|error| panic!("{error}")).data
    }
}
