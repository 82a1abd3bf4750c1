//! One layer of a dense block, which reads all features before it and computes `k` new ones.

use super::fused::{LayerModules, StageModules};
use super::input::check_tensor;
use super::{
    ConvDropout, ConvGeometry, DenseBlockConfig, Draws, Dropout, Features, ForwardContext, Initialization, NormRelu,
    NormReluConfig, checked, drop_values,
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
        let stages = (1..).zip(&self.convs).map(|(number, conv)| {
            let conv_path = path / format!("conv{number}");
            Ok(LayerStage {
                norm: self.norm.build(&(path / format!("norm{number}")), conv.in_channels)?,
                conv: conv.build(&conv_path, self.initialization, draws)?,
                dropout: self.dropout.after_conv(&conv_path, number == self.convs.len()),
            })
        });
        Ok(DenseLayer { stages: stages.collect::<Result<_>>()? })
    }
}

/// One or two stages.
#[derive(Debug)]
pub(crate) struct DenseLayer {
    stages: Vec<LayerStage>,
}

/// Norm → ReLU → convolution → dropout.
#[derive(Debug)]
struct LayerStage {
    norm: NormRelu,
    conv: nn::Conv2D,
    dropout: ConvDropout,
}

impl LayerStage {
    /// Computes the output of the stage in libtorch's own operations.
    fn forward(&self, x: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        Ok(drop_values(self.dropout.mask(ctx), self.conv.forward(&self.norm.forward(x, ctx)?)))
    }
}

impl DenseLayer {
    /// Checks that features are tensors like the layer's variables.
    pub(super) fn check_tensor(&self, features: &Tensor) -> Result<()> {
        check_tensor(features, &self.stages[0].conv.ws)
    }

    /// Checks the features that the layer will read.
    pub(super) fn check(&self, features: &Tensor, ctx: &ForwardContext) -> Result<()> {
        self.stages[0].norm.check(features, ctx)
    }

    /// Returns the layer's modules in the form that the fused engine takes.
    pub(super) fn modules(&self, ctx: &ForwardContext) -> LayerModules<'_> {
        let stages = self.stages.iter().map(|LayerStage { norm, conv, dropout }| {
            let mask = dropout.mask(ctx);
            StageModules { norm, conv, mask }
        });
        LayerModules { stages: stages.collect() }
    }

    /// Computes the new features `[N, k, H, W]` from `[N, C, H, W]`, in libtorch's own operations.
    pub(crate) fn forward(&self, features: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        let (first, others) = self.stages.split_first().expect("a layer has a stage");
        others.iter().try_fold(first.forward(features, ctx)?, |x, stage| stage.forward(&Features::new(x), ctx))
    }
}
