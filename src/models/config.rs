//! The configuration of a DenseNet, which determines its blocks, transitions and channel counts.

use crate::nn::{
    ConvGeometry, DenseBlockConfig, DenseLayerConfig, Dropout, Initialization, LayerKind, NormReluConfig, StemConfig,
    TransitionBlockConfig, checked, layer_choices,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Configuration of a [`DenseNet`](super::DenseNet).
    ///
    /// The defaults are those of DenseNet-121 as torchvision builds it. Presets are [`densenet121`](Self::densenet121)
    /// and its larger variants, [`cifar`](Self::cifar), [`cifar_bc`](Self::cifar_bc),
    /// [`fashion_mnist`](Self::fashion_mnist), [`d2l`](Self::d2l).
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::DenseNetConfig;
    /// use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
    ///
    /// let vs = VarStore::new(Device::Cpu);
    /// let model = DenseNetConfig::new(10)
    ///     .with_input_channels(1)
    ///     .with_growth_rate(12)
    ///     .with_layers_per_block([2, 2, 2])
    ///     .build(&vs.root())?;
    /// let x = Tensor::rand([4, 1, 64, 64], (Kind::Float, Device::Cpu));
    /// assert_eq!(model.forward_t(&x, true).size(), [4, 10]);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    ///
    /// # Source
    ///
    /// Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017, table 1.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct DenseNetConfig {
        /// Number of classes: the network's outputs; at least 1.
        pub classes: usize => with_classes,
        /// Number of channels of the images, at least 1. Default 3.
        pub input_channels: usize => with_input_channels,
        /// Number of output channels of the stem, at least 1. Default 64.
        pub initial_channels: usize => with_initial_channels,
        /// Channels that each dense layer adds, at least 1; `k` in the paper. Default 32.
        pub growth_rate: usize => with_growth_rate,
        /// Number of layers of each dense block, at least one block and one layer each. Default [6, 12, 24, 16].
        pub layers_per_block: Vec<usize> [doc(alias = "convs_per_block"), doc(alias = "block_config")],
        /// Plain or bottleneck layers. Default: bottlenecks of factor 4.
        pub(crate) layer_kind: LayerKind => with_layer_kind,
        /// Output channels of a transition over its input channels, in (0, 1]; θ in the paper. Default 0.5.
        pub compression: f64 => with_compression,
        /// The stem: convolutions before the first block and the operations after them. Default:
        /// [`StemConfig::imagenet`].
        pub stem: StemConfig => with_stem,
        /// Whether a blur halves the sides of the feature maps in transitions instead of average pooling.
        pub(crate) blur: bool [serde(default)],
        /// Whether convolutions have a bias. Default: without.
        pub(crate) conv_bias: bool => with_bias,
        /// The distribution of initial weights. Default: Kaiming, fan in.
        pub initialization: Initialization => with_initialization,
        /// ε and momentum of all norms. Default: 1e-5 and 0.1.
        pub norm: NormReluConfig => with_norm,
        /// Dropout in training: its rate and its place. Default: none.
        pub dropout: Dropout => with_dropout,
        /// Seed of the initial weights: equal configurations with equal seeds give equal weights. libtorch's default
        /// generator is not used. Default 0.
        pub seed: u64 => with_seed [serde(default)],
    }
}

layer_choices!(DenseNetConfig);

/// The layers of a dense block and, except after the last block, the transition.
pub(super) struct StageConfig {
    pub layers: Vec<DenseLayerConfig>,
    /// Number of output channels of the block.
    pub out_channels: usize,
    pub transition: Option<TransitionBlockConfig>,
}

impl DenseNetConfig {
    /// Describes DenseNet-121 with `classes` outputs.
    pub fn new(classes: usize) -> Self {
        DenseNetConfig {
            classes,
            input_channels: 3,
            initial_channels: 64,
            growth_rate: 32,
            layers_per_block: vec![6, 12, 24, 16],
            layer_kind: LayerKind::default(),
            compression: 0.5,
            stem: StemConfig::imagenet(),
            blur: false,
            conv_bias: false,
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
            seed: 0,
        }
    }

    /// Halves the sides of the feature maps in transitions by every second pixel of a 3×3 blur with binomial weights, timm's
    /// `BlurPool2d`. Default: by 2×2 average pooling.
    #[must_use]
    pub fn with_blur(self) -> Self {
        DenseNetConfig { blur: true, ..self }
    }

    /// Sets the number of layers of each dense block, which also determines the number of blocks. Default [6, 12, 24,
    /// 16].
    #[must_use]
    pub fn with_layers_per_block(mut self, layers_per_block: impl Into<Vec<usize>>) -> Self {
        self.layers_per_block = layers_per_block.into();
        self
    }

    /// Computes the number of channels of the last features, which the classifier reads.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn out_channels(&self) -> Result<usize> {
        Ok(self.stages()?.last().expect("there is at least one block").out_channels)
    }

    /// Returns the convolutions of the stem in their order.
    pub(super) fn stem_convs(&self) -> Vec<ConvGeometry> {
        self.stem.convs(self.input_channels, self.initial_channels, self.conv_bias)
    }

    /// Checks the configuration and returns its blocks and transitions.
    pub(super) fn stages(&self) -> Result<Vec<StageConfig>> {
        self.check()?;
        let mut channels = self.initial_channels;
        let mut stages = Vec::with_capacity(self.layers_per_block.len());
        for (index, &layers) in self.layers_per_block.iter().enumerate() {
            let block = self.block(channels, layers);
            let (layers, out_channels) = (block.layers()?, block.out_channels()?);
            channels = out_channels;
            let is_last = index + 1 == self.layers_per_block.len();
            let transition = if is_last { None } else { Some(self.transition(channels)?) };
            if let Some(transition) = &transition {
                channels = transition.out_channels;
            }
            stages.push(StageConfig { layers, out_channels, transition });
        }
        Ok(stages)
    }

    fn check(&self) -> Result<()> {
        for (field, value) in [
            ("classes", self.classes),
            ("input channels", self.input_channels),
            ("initial channels", self.initial_channels),
            ("growth rate", self.growth_rate),
            ("number of dense blocks", self.layers_per_block.len()),
        ] {
            Error::at_least_one(field, value)?;
            checked(field, Some(value))?;
        }
        if !(self.compression > 0.0 && self.compression <= 1.0) {
            let value = self.compression.to_string();
            return Err(Error::invalid_value("compression", value, "a number in (0, 1]"));
        }
        self.stem.check()
    }

    fn block(&self, in_channels: usize, layers: usize) -> DenseBlockConfig {
        DenseBlockConfig::new(in_channels, layers)
            .with_growth_rate(self.growth_rate)
            .with_layer_kind(self.layer_kind)
            .with_bias(self.conv_bias)
            .with_initialization(self.initialization)
            .with_norm(self.norm)
            .with_dropout(self.dropout)
    }

    fn transition(&self, in_channels: usize) -> Result<TransitionBlockConfig> {
        // The small addend keeps a product such as 0.29 · 100 = 28.999… from losing a channel to rounding.
        let out_channels = (in_channels as f64 * self.compression + 1e-9).floor() as usize;
        if out_channels == 0 {
            let value = self.compression.to_string();
            let expected = "large enough to leave each transition a channel";
            return Err(Error::invalid_value("compression", value, expected));
        }
        let transition = TransitionBlockConfig::new(in_channels, out_channels)
            .with_bias(self.conv_bias)
            .with_initialization(self.initialization)
            .with_norm(self.norm)
            .with_dropout(self.dropout);
        Ok(TransitionBlockConfig { blur: self.blur, ..transition })
    }
}
