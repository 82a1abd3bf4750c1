//! One layer of a dense block, which reads all features before it and computes `k` new ones.

use super::fused::{LayerModules, StageModules};
use super::{
    ConvGeometry, DenseBlockConfig, Draws, Dropout, DropoutPlace, Features, ForwardContext, Initialization, NormRelu,
    NormReluConfig, checked,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, Path};

/// The operations of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LayerKind {
    /// Norm → ReLU → 3×3 convolution.
    Plain,
    /// Norm → ReLU → 1×1 convolution to `factor`·`k` channels → norm → ReLU → 3×3 convolution: DenseNet-B.
    Bottleneck {
        /// Channels of the bottleneck as a multiple of the growth rate, at least 1; the paper uses 4.
        factor: usize,
    },
}

impl Default for LayerKind {
    /// Returns a bottleneck of factor 4.
    ///
    /// # Source
    ///
    /// Huang et al. 2017, section 3, *Bottleneck layers*.
    fn default() -> Self {
        LayerKind::Bottleneck { factor: 4 }
    }
}

/// The description of a dense layer of a valid [`DenseBlockConfig`].
#[derive(Clone, Debug)]
pub(crate) struct DenseLayerConfig {
    /// The convolutions in their order: one, or two for a bottleneck. A norm and ReLU precede each.
    pub convs: Vec<ConvGeometry>,
    initialization: Initialization,
    norm: NormReluConfig,
    dropout: Dropout,
}

impl DenseLayerConfig {
    /// Describes the layer of a block that reads `in_channels` channels.
    pub fn of(block: &DenseBlockConfig, in_channels: usize) -> Result<Self> {
        let (k, bias) = (block.growth_rate, block.conv_bias);
        let convs = match block.layer_kind {
            LayerKind::Plain => vec![ConvGeometry::same(in_channels, k, 3, bias)],
            LayerKind::Bottleneck { factor } => {
                let width = checked("bottleneck width", factor.checked_mul(k))?;
                vec![ConvGeometry::same(in_channels, width, 1, bias), ConvGeometry::same(width, k, 3, bias)]
            }
        };
        let DenseBlockConfig { initialization, norm, dropout, .. } = *block;
        Ok(DenseLayerConfig { convs, initialization, norm, dropout })
    }

    /// Builds the layer with the variables `norm1.*`, `conv1.*` and, for a bottleneck, `norm2.*`, `conv2.*`.
    pub fn build(&self, path: &Path, draws: &Draws) -> Result<DenseLayer> {
        let stages = (1..).zip(&self.convs).map(|(i, conv)| {
            let norm = self.norm.build(&(path / format!("norm{i}")), conv.in_channels)?;
            Ok((norm, conv.build(&(path / format!("conv{i}")), self.initialization, draws)?))
        });
        Ok(DenseLayer { stages: stages.collect::<Result<_>>()?, dropout: self.dropout })
    }
}

/// One or two times norm → ReLU → convolution.
#[derive(Debug)]
pub(crate) struct DenseLayer {
    stages: Vec<(NormRelu, nn::Conv2D)>,
    dropout: Dropout,
}

impl DenseLayer {
    /// Checks the features that the layer will read.
    pub(super) fn check(&self, features: &Tensor, ctx: &ForwardContext) -> Result<()> {
        self.stages[0].0.check(features, ctx)
    }

    /// Returns the layer's modules in the form that the fused engine takes.
    pub(super) fn modules(&self, ctx: &ForwardContext) -> LayerModules<'_> {
        let last = self.stages.len() - 1;
        let drop_rate = |stage| match self.dropout.drops_in(ctx)
            && (stage == last || self.dropout.place == DropoutPlace::EveryConv)
        {
            true => self.dropout.rate,
            false => 0.0,
        };
        let stages = self.stages.iter().enumerate();
        let stages = stages.map(|(stage, (norm, conv))| StageModules { norm, conv, drop_rate: drop_rate(stage) });
        LayerModules { stages: stages.collect() }
    }

    /// Computes the new features `[N, k, H, W]` from `[N, C, H, W]`, in libtorch's own operations.
    pub(crate) fn forward(&self, features: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        let (norm, conv) = &self.stages[0];
        let mut y = conv.forward(&norm.forward(features, ctx)?);
        for (norm, conv) in &self.stages[1..] {
            let inner = self.dropout.after_inner_conv(y, ctx);
            y = conv.forward(&norm.forward(&Features::new(inner), ctx)?);
        }
        Ok(self.dropout.after_layer(y, ctx))
    }
}
