//! The description of a dense block that all backends share, and the interface that a backend implements.

use crate::kernels::DropMask;
use crate::nn::{Memory, Statistics};
use crate::torch::to_channels_last;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Computes the forward and the backward pass of a dense block.
///
/// The interface is at the level of a block, so that a backend is free in the order of its loops: by layer, by group of
/// images, or by slot of the feature buffer.
pub(crate) trait Backend: Sync {
    /// Appends the features of all layers to `x` `[N, C, H, W]`.
    ///
    /// `statistics` are the running statistics of all norms, or the batch statistics of `x`, which this pass then
    /// extends to all features. Without them the pass computes the batch statistics of `x` too.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch) where a convolution fails.
    fn forward(
        &self,
        block: &Block,
        x: &Tensor,
        statistics: Option<BlockStatistics>,
        memory: Memory,
    ) -> Result<Activations>;

    /// Computes the gradients of the block's inputs that `needs_grad` names, from what [`forward`](Self::forward)
    /// returned.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch) where a convolution fails.
    fn backward(
        &self,
        block: &Block,
        saved: &Activations,
        grad_outputs: GradOutputs,
        needs_grad: &NeedsGrad,
    ) -> Result<Gradients>;
}

/// A dense block: its parameters and constants.
#[derive(Debug)]
pub(crate) struct Block {
    pub layers: Vec<Layer>,
    /// The ε of all norms, added to variances.
    pub epsilon: f64,
    /// Whether the statistics of the block's input are inputs of the block too. The backward pass then returns their
    /// gradients.
    pub has_input_statistics: bool,
}

/// A dense layer: the stage that reads the features and, in a bottleneck layer, a second stage that reads the output of
/// the first. The last stage computes new features.
#[derive(Debug)]
pub(crate) struct Layer {
    pub first: Stage,
    pub second: Option<Stage>,
}

/// Norm → ReLU → convolution → dropout, with stride 1 and padding that preserves the size.
#[derive(Debug)]
pub(crate) struct Stage {
    /// γ of the norm, `[C]`.
    pub gamma: Tensor,
    /// β of the norm, `[C]`.
    pub beta: Tensor,
    /// The convolution's weight, `[K, C, h, w]`.
    pub weight: Tensor,
    /// The convolution's bias, `[K]`.
    pub bias: Option<Tensor>,
    /// The dropout of its output in this pass.
    pub mask: Option<DropMask>,
}

impl Block {
    /// Returns the number of channels of the block's input.
    pub fn in_channels(&self) -> usize {
        self.layers[0].first.in_channels()
    }

    /// Returns the number of channels of the block's output: those of its input and those that the layers add.
    pub fn out_channels(&self) -> usize {
        self.in_channels() + self.layers.iter().map(|layer| layer.last().out_channels()).sum::<usize>()
    }
}

impl Layer {
    /// Returns the stage that computes new features.
    pub fn last(&self) -> &Stage {
        self.second.as_ref().unwrap_or(&self.first)
    }
}

impl Stage {
    /// Returns the number of channels that the stage reads.
    pub fn in_channels(&self) -> usize {
        self.gamma.numel()
    }

    /// Returns the number of channels that the stage writes.
    pub fn out_channels(&self) -> usize {
        self.weight.size()[0] as usize
    }

    /// Returns the padding in pixels that preserves the size.
    pub fn padding(&self) -> i64 {
        self.weight.size()[2] / 2
    }

    /// Returns the weight in the form in which features of this dtype are convolved with it.
    pub fn weight_as(&self, dtype: Kind) -> Result<Tensor> {
        to_channels_last(&self.weight.to_kind(dtype))
    }

    /// Convolves normalized features with `weight`, which [`weight_as`](Self::weight_as) returned; without dropout.
    pub fn convolve(&self, normalized: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (bias, padding) = (self.bias.as_ref().map(|bias| bias.to_kind(normalized.kind())), self.padding());
        normalized
            .f_conv2d(weight, bias.as_ref(), [1, 1], [padding, padding], [1, 1], 1)
            .map_err(Error::libtorch("convolution"))
    }
}

/// The statistics by which the norms of a block normalize. A backend may have a representation `S` of its own.
#[derive(Debug)]
pub(crate) struct BlockStatistics<S = Statistics> {
    /// Statistics of the features, which the first norm of each layer reads.
    pub features: FeatureStatistics<S>,
    /// Statistics of the output of each bottleneck layer's first stage.
    pub bottlenecks: Vec<S>,
}

/// Statistics of a block's features.
#[derive(Debug)]
pub(crate) enum FeatureStatistics<S = Statistics> {
    /// Batch statistics, the same for all layers.
    Batch(S),
    /// Running statistics, one for each layer.
    Running(Vec<S>),
}

impl<S> BlockStatistics<S> {
    /// Returns the batch statistics of the features, if the norms use those.
    pub fn batch(&self) -> Option<&S> {
        match &self.features {
            FeatureStatistics::Batch(statistics) => Some(statistics),
            FeatureStatistics::Running(_) => None,
        }
    }

    /// Returns the statistics that the first norm of a layer uses. Batch statistics may have more channels than it
    /// reads.
    pub fn of_layer(&self, layer: usize) -> &S {
        match &self.features {
            FeatureStatistics::Batch(statistics) => statistics,
            FeatureStatistics::Running(statistics) => &statistics[layer],
        }
    }

    /// Iterates over the statistics of the features, then those of the bottlenecks.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        let features = match &self.features {
            FeatureStatistics::Batch(statistics) => std::slice::from_ref(statistics),
            FeatureStatistics::Running(statistics) => statistics,
        };
        features.iter().chain(&self.bottlenecks)
    }

    /// Converts the statistics to another representation.
    pub fn map<R>(&self, convert: impl Fn(&S) -> R) -> BlockStatistics<R> {
        BlockStatistics {
            features: match &self.features {
                FeatureStatistics::Batch(statistics) => FeatureStatistics::Batch(convert(statistics)),
                FeatureStatistics::Running(statistics) => {
                    FeatureStatistics::Running(statistics.iter().map(&convert).collect())
                }
            },
            bottlenecks: self.bottlenecks.iter().map(&convert).collect(),
        }
    }
}

/// The result of a forward pass, from which the backward pass starts.
#[derive(Debug)]
pub(crate) struct Activations {
    /// All features, `[N, C + layers·k, H, W]` in channels-last memory format.
    pub features: Tensor,
    /// The statistics of all norms.
    pub statistics: BlockStatistics,
    /// For each layer, the output of its first stage where it has two, as one or more parts of the batch; empty where
    /// it is recomputed.
    pub bottlenecks: Vec<Vec<Tensor>>,
}

/// The gradients of a block's outputs; `None` stands for 0.
pub(crate) struct GradOutputs {
    pub features: Option<Tensor>,
    /// Gradient of the features' mean.
    pub mean: Option<Tensor>,
    /// Gradient of the features' 1/√(var + ε).
    pub rstd: Option<Tensor>,
}

/// The gradients that a backward pass has to compute.
pub(crate) struct NeedsGrad {
    /// Whether that of the block's input or its statistics is needed.
    pub input: bool,
    pub layers: Vec<LayerNeedsGrad>,
}

/// The gradients of a layer's parameters that are needed.
#[derive(Clone, Copy)]
pub(crate) struct LayerNeedsGrad {
    pub first: StageNeedsGrad,
    pub second: Option<StageNeedsGrad>,
}

/// The gradients of a stage's parameters that are needed.
#[derive(Clone, Copy)]
pub(crate) struct StageNeedsGrad {
    /// Whether that of γ or β is needed.
    pub norm: bool,
    pub weight: bool,
    pub bias: bool,
}

impl StageNeedsGrad {
    /// Whether any of them is needed.
    pub fn any(&self) -> bool {
        self.norm || self.weight || self.bias
    }
}

impl LayerNeedsGrad {
    /// Whether any of them is needed.
    pub fn any(&self) -> bool {
        self.first.any() || self.second.is_some_and(|second| second.any())
    }
}

impl NeedsGrad {
    /// Whether the gradient of the layer's input is needed.
    pub fn before(&self, layer: usize) -> bool {
        self.input || self.layers[..layer].iter().any(LayerNeedsGrad::any)
    }

    /// Whether the backward pass has to visit the layer.
    pub fn visits(&self, layer: usize) -> bool {
        self.before(layer) || self.layers[layer].any()
    }
}

/// The gradients of a block's inputs. Those that are not needed may be present or absent.
pub(crate) struct Gradients {
    pub x: Option<Tensor>,
    /// Gradients of the mean and 1/√(var + ε) of `x`, where they were inputs.
    pub statistics: Option<Statistics>,
    pub layers: Vec<LayerGradients>,
}

/// The gradients of a layer's parameters.
#[derive(Default)]
pub(crate) struct LayerGradients {
    pub first: StageGradients,
    pub second: StageGradients,
}

/// The gradients of a stage's parameters.
#[derive(Default)]
pub(crate) struct StageGradients {
    pub gamma: Option<Tensor>,
    pub beta: Option<Tensor>,
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
}

/// Returns the dtype of computations on features of this dtype: f32 for bf16 and f16, else the same.
pub(crate) fn wide_kind(features: &Tensor) -> Kind {
    match features.kind() {
        Kind::BFloat16 | Kind::Half => Kind::Float,
        kind => kind,
    }
}
