//! The dense block: each layer reads the features of all layers before it.

use super::dense_layer::{DenseLayer, DenseLayerConfig};
use super::fused::{self, Backend, Engine};
use super::{
    Draws, Dropout, Features, ForwardContext, Initialization, LayerKind, NormReluConfig, checked, layer_choices,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{ModuleT, Path};

config! {
    /// Configuration of a [`DenseBlock`].
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::nn::DenseBlockConfig;
    /// use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
    ///
    /// let vs = VarStore::new(Device::Cpu);
    /// let block = DenseBlockConfig::new(3, 2)
    ///     .with_growth_rate(10)
    ///     .with_plain_layers()
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
        /// Number of input channels, at least 1.
        pub in_channels: usize,
        /// Number of layers, at least 1.
        pub layers: usize [doc(alias = "convs_per_block")],
        /// Channels that each layer adds, at least 1; `k` in the paper. Default 32.
        pub growth_rate: usize => with_growth_rate,
        /// Plain or bottleneck layers. Default: bottlenecks of factor 4.
        pub(crate) layer_kind: LayerKind => with_layer_kind,
        /// Whether the convolutions have a bias. Default: without.
        pub(crate) conv_bias: bool => with_bias,
        /// The distribution of initial weights. Default: Kaiming, fan in.
        pub initialization: Initialization => with_initialization,
        /// ε and momentum of the norms. Default: 1e-5 and 0.1.
        pub norm: NormReluConfig => with_norm,
        /// Dropout in training: its rate and its place. Default: none.
        pub dropout: Dropout => with_dropout,
    }
}

layer_choices!(DenseBlockConfig);

impl DenseBlockConfig {
    /// Describes a block of `layers` layers that reads `in_channels` channels.
    pub fn new(in_channels: usize, layers: usize) -> Self {
        DenseBlockConfig {
            in_channels,
            layers,
            growth_rate: 32,
            layer_kind: LayerKind::default(),
            conv_bias: false,
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
        }
    }

    /// Returns the number of output channels: those of the input and `k` per layer.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a field outside its range, or for too many channels.
    pub fn out_channels(&self) -> Result<usize> {
        let added = self.layers.checked_mul(self.growth_rate);
        checked("channels of a dense block", added.and_then(|added| added.checked_add(self.in_channels)))
    }

    /// Checks the block and describes its layers, first to last.
    pub(crate) fn layers(&self) -> Result<Vec<DenseLayerConfig>> {
        Error::at_least_one("layers of a dense block", self.layers)?;
        self.out_channels()?;
        for (field, value) in [("input channels", self.in_channels), ("growth rate", self.growth_rate)] {
            Error::at_least_one(field, value)?;
        }
        if let LayerKind::Bottleneck { factor } = self.layer_kind {
            Error::at_least_one("bottleneck factor", factor)?;
        }
        self.norm.check()?;
        self.dropout.check()?;
        (0..self.layers).map(|index| DenseLayerConfig::of(self, self.in_channels + index * self.growth_rate)).collect()
    }

    /// Builds the block with the variables `denselayer1.*`, `denselayer2.*` and so on under `path`.
    ///
    /// Its initial weights are drawn from libtorch's default generator, which [`tch::manual_seed`] seeds. A
    /// [`DenseNet`](crate::models::DenseNet) draws from its configuration's seed instead.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a field outside its range, for too many channels, or where `path` has such variables
    /// already.
    pub fn build(&self, path: &Path) -> Result<DenseBlock> {
        DenseBlock::new(&self.layers()?, path, &Draws::Libtorch)
    }
}

/// A dense block: layers of which each reads the features of all layers before it.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, C + layers·k, H, W]`.
#[derive(Debug)]
pub struct DenseBlock {
    layers: Vec<DenseLayer>,
}

impl DenseBlock {
    pub(crate) fn new(layers: &[DenseLayerConfig], path: &Path, draws: &Draws) -> Result<Self> {
        let layers = (1..).zip(layers).map(|(i, layer)| layer.build(&(path / format!("denselayer{i}")), draws));
        Ok(DenseBlock { layers: layers.collect::<Result<_>>()? })
    }

    /// Appends the features of all layers to `features`.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if `features` are not `[N, C, H, W]` with the channels that the block was built for, or in
    /// training on one value per channel; [`Error::Libtorch`].
    pub fn forward(&self, features: Features, ctx: &ForwardContext) -> Result<Features> {
        self.layers[0].check_tensor(&features.data)?;
        match Engine::of(&features.data, ctx).backend() {
            Some(backend) => self.fused(backend, features, ctx),
            None => self.reference(features, ctx),
        }
    }

    pub(super) fn fused(
        &self,
        backend: &'static dyn Backend,
        features: Features,
        ctx: &ForwardContext,
    ) -> Result<Features> {
        self.layers[0].check(&features.data, ctx)?;
        let layers: Vec<_> = self.layers.iter().map(|layer| layer.modules(ctx)).collect();
        fused::dense_block(backend, features, &layers, ctx)
    }

    pub(super) fn reference(&self, features: Features, ctx: &ForwardContext) -> Result<Features> {
        self.layers.iter().try_fold(features, |features, layer| {
            let new = layer.forward(&features, ctx)?;
            Ok(Features::new(Tensor::cat(&[features.data, new], 1)))
        })
    }
}

impl ModuleT for DenseBlock {
    /// # Panics
    ///
    /// Where [`forward`](DenseBlock::forward) returns an error.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        let features = self.forward(Features::new(xs.shallow_clone()), &ForwardContext::of_module(train));
        features.unwrap_or_else(|error| panic!("{error}")).data
    }
}
