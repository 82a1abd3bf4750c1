//! The dense block: each layer reads the features of all layers before it.

use super::dense_layer::{DenseLayer, DenseLayerConfig};
use super::{
    ConvBias, Dropout, Features, ForwardContext, Initialization, LayerKind, Mode, NormReluConfig, checked, fused,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{ModuleT, Path};

/// Configuration of a [`DenseBlock`].
///
/// # Examples
///
/// ```
/// use densenet::nn::{DenseBlockConfig, LayerKind};
/// use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let block = DenseBlockConfig::new(3, 2)
///     .with_growth_rate(10)
///     .with_layer_kind(LayerKind::Plain)
///     .build(&vs.root())?;
/// let x = Tensor::rand([4, 3, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(block.forward_t(&x, true).size(), [4, 23, 8, 8]);
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// # Source
///
/// Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DenseBlockConfig {
    /// Channels that the block reads, at least 1.
    pub in_channels: usize,
    /// Number of layers, at least 1.
    #[doc(alias = "convs_per_block")]
    pub layers: usize,
    /// Channels that each layer adds, at least 1; `k` in the paper. Default 32.
    pub growth_rate: usize,
    /// Plain or bottleneck layers. Default: bottlenecks of factor 4.
    pub layer_kind: LayerKind,
    /// Whether the convolutions have a bias. Default: without.
    pub conv_bias: ConvBias,
    /// How weights start. Default: Kaiming, fan in.
    pub initialization: Initialization,
    /// ε and momentum of the norms.
    pub norm: NormReluConfig,
    /// Default: none.
    pub dropout: Dropout,
}

impl DenseBlockConfig {
    /// A block of so many layers on so many channels.
    pub fn new(in_channels: usize, layers: usize) -> Self {
        DenseBlockConfig {
            in_channels,
            layers,
            growth_rate: 32,
            layer_kind: LayerKind::default(),
            conv_bias: ConvBias::default(),
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
        }
    }

    setters! {
        with_growth_rate => growth_rate: usize,
        with_layer_kind => layer_kind: LayerKind,
        with_conv_bias => conv_bias: ConvBias,
        with_initialization => initialization: Initialization,
        with_norm => norm: NormReluConfig,
        with_dropout => dropout: Dropout,
    }

    /// Channels of the output: those of the input and `k` a layer.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn out_channels(&self) -> Result<usize> {
        let added = self.layers.checked_mul(self.growth_rate);
        checked("channels of a dense block", added.and_then(|added| added.checked_add(self.in_channels)))
    }

    /// The configurations of the layers, first to last.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`].
    pub fn layer_configs(&self) -> Result<Vec<DenseLayerConfig>> {
        Error::at_least_one("layers of a dense block", self.layers)?;
        self.out_channels()?;
        let layer = |index: usize| DenseLayerConfig {
            in_channels: self.in_channels + index * self.growth_rate,
            growth_rate: self.growth_rate,
            kind: self.layer_kind,
            conv_bias: self.conv_bias,
            initialization: self.initialization,
            norm: self.norm,
            dropout: self.dropout,
        };
        let layers: Vec<_> = (0..self.layers).map(layer).collect();
        layers[0].check()?;
        Ok(layers)
    }

    /// Builds the block with the variables `denselayer1.*`, `denselayer2.*` and so on under `path`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`], [`Error::VariableExists`].
    pub fn build(&self, path: &Path) -> Result<DenseBlock> {
        let layers = self.layer_configs()?.into_iter().enumerate();
        let layers = layers.map(|(i, layer)| layer.build(&(path / format!("denselayer{}", i + 1))));
        Ok(DenseBlock { layers: layers.collect::<Result<_>>()? })
    }
}

/// Layers of which each reads the features of all before it.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, C + layers·k, H, W]`.
#[derive(Debug)]
pub struct DenseBlock {
    layers: Vec<DenseLayer>,
}

impl DenseBlock {
    /// Adds the layers' features to those given. This is the one place where it is decided how a block is executed.
    ///
    /// # Panics
    ///
    /// If the features have other channels than the block was built for, or, in training mode, one value a channel.
    pub fn forward(&self, features: Features, ctx: &ForwardContext) -> Features {
        if !(ctx.fused() && fused::takes(&features.data)) {
            return self.composed(features, ctx);
        }
        let layers: Vec<_> = self.layers.iter().map(|layer| layer.fused(ctx)).collect();
        layers[0].stages[0].norm.check(&features.data, ctx);
        fused::dense_block(features, &layers, ctx).unwrap_or_else(|error| panic!("{error}"))
    }

    fn composed(&self, features: Features, ctx: &ForwardContext) -> Features {
        self.layers.iter().fold(features, |features, layer| {
            let new = layer.forward(&features, ctx);
            Features::new(Tensor::cat(&[features.data, new], 1))
        })
    }
}

impl ModuleT for DenseBlock {
    /// # Panics
    ///
    /// If `xs` has other channels than the block was built for, or, in training mode, one value a channel.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.forward(Features::new(xs.shallow_clone()), &ForwardContext::new(Mode::from(train))).data
    }
}
