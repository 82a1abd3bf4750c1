//! One layer of a dense block: reads all features before it, writes `k` new ones.

use super::fused::{FusedLayer, FusedStage};
use super::{
    ConvBias, ConvGeometry, Dropout, DropoutPlace, Features, ForwardContext, Initialization, NormRelu, NormReluConfig,
    checked,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, Path};

/// What a dense layer consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKind {
    /// Norm → ReLU → 3×3 convolution.
    Plain,
    /// Norm → ReLU → 1×1 convolution to `factor`·`k` channels → norm → ReLU → 3×3 convolution: DenseNet-B.
    Bottleneck {
        /// Width of the bottleneck in growth rates, at least 1; the paper uses 4.
        factor: usize,
    },
}

impl Default for LayerKind {
    /// A bottleneck of factor 4.
    ///
    /// # Source
    ///
    /// Huang et al. 2017, section 3, *Bottleneck layers*.
    fn default() -> Self {
        LayerKind::Bottleneck { factor: 4 }
    }
}

/// Configuration of a dense layer; [`DenseBlockConfig::layer_configs`](super::DenseBlockConfig::layer_configs) makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DenseLayerConfig {
    /// Channels that the layer reads, at least 1.
    pub in_channels: usize,
    /// Channels that the layer writes: the growth rate, `k` in the paper; at least 1.
    pub growth_rate: usize,
    /// Plain or bottleneck. Default: a bottleneck of factor 4.
    pub kind: LayerKind,
    /// Whether the convolutions have a bias. Default: without.
    pub conv_bias: ConvBias,
    /// How weights start. Default: Kaiming, fan in.
    pub initialization: Initialization,
    /// ε and momentum of the norms.
    pub norm: NormReluConfig,
    /// Default: none.
    pub dropout: Dropout,
}

impl DenseLayerConfig {
    /// The convolutions in their order: one, or two for a bottleneck.
    pub(crate) fn convs(&self) -> Result<Vec<ConvGeometry>> {
        let (inputs, k, bias) = (self.in_channels, self.growth_rate, self.conv_bias);
        Ok(match self.kind {
            LayerKind::Plain => vec![ConvGeometry::same(inputs, k, 3, bias)],
            LayerKind::Bottleneck { factor } => {
                let width = checked("bottleneck width", factor.checked_mul(k))?;
                vec![ConvGeometry::same(inputs, width, 1, bias), ConvGeometry::same(width, k, 3, bias)]
            }
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (field, value) in [("input channels", self.in_channels), ("growth rate", self.growth_rate)] {
            Error::at_least_one(field, value)?;
        }
        if let LayerKind::Bottleneck { factor } = self.kind {
            Error::at_least_one("bottleneck factor", factor)?;
        }
        self.norm.check()?;
        self.dropout.check()
    }

    /// Builds the layer with the variables `norm1.*`, `conv1.*` and, for a bottleneck, `norm2.*`, `conv2.*`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`], [`Error::VariableExists`].
    pub fn build(&self, path: &Path) -> Result<DenseLayer> {
        self.check()?;
        let stages = self.convs()?.into_iter().enumerate().map(|(i, conv)| {
            let norm = self.norm.build(&(path / format!("norm{}", i + 1)), conv.in_channels)?;
            Ok((norm, conv.build(&(path / format!("conv{}", i + 1)), self.initialization)?))
        });
        Ok(DenseLayer { stages: stages.collect::<Result<_>>()?, dropout: self.dropout })
    }
}

/// Norm → ReLU → convolution, once or twice.
#[derive(Debug)]
pub struct DenseLayer {
    stages: Vec<(NormRelu, nn::Conv2D)>,
    dropout: Dropout,
}

impl DenseLayer {
    /// The layer as the fused engine takes it.
    pub(super) fn fused(&self, ctx: &ForwardContext) -> FusedLayer<'_> {
        let last = self.stages.len() - 1;
        let drop_rate = |stage| match ctx.drops(&self.dropout)
            && (stage == last || self.dropout.place == DropoutPlace::EveryConv)
        {
            true => self.dropout.rate,
            false => 0.0,
        };
        let stages = self.stages.iter().enumerate();
        let stages = stages.map(|(stage, (norm, conv))| FusedStage { norm, conv, drop_rate: drop_rate(stage) });
        FusedLayer { stages: stages.collect() }
    }

    /// The new features `[N, k, H, W]` made of `[N, C, H, W]`.
    pub(crate) fn forward(&self, features: &Features, ctx: &ForwardContext) -> Tensor {
        let (norm, conv) = &self.stages[0];
        let mut y = conv.forward(&norm.forward(features, ctx));
        for (norm, conv) in &self.stages[1..] {
            let inner = self.dropout.after_inner_conv(y, ctx);
            y = conv.forward(&norm.forward(&Features::new(inner), ctx));
        }
        self.dropout.after_layer(y, ctx)
    }
}
