//! The densely connected network: stem, dense blocks with transitions between them, head.

use super::config::DenseNetConfig;
use super::layout::{self, Layer, layout};
use super::model::{Model, input_shape_error};
use crate::Result;
use crate::nn::{
    DenseBlock, Draws, Features, ForwardContext, Mode, NormRelu, Stem, TransitionBlock, build_linear, check_tensor,
};
use tch::Tensor;
use tch::nn::{self, Module, ModuleT, Path};

/// A densely connected network for the classification of images.
///
/// # Shapes
///
/// `[N, C, H, W]` to logits `[N, classes]`.
#[derive(Debug)]
pub struct DenseNet {
    config: DenseNetConfig,
    layout: Vec<Layer>,
    stem: Stem,
    stages: Vec<(DenseBlock, Option<TransitionBlock>)>,
    norm: NormRelu,
    classifier: nn::Linear,
}

impl DenseNetConfig {
    /// Builds the network with torchvision's variable names under `path`. Its initial weights follow from
    /// [`seed`](Self::seed).
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue),
    /// [`ConfigError::Overflow`](crate::error::ConfigError::Overflow),
    /// [`ConfigError::VariableExists`](crate::error::ConfigError::VariableExists).
    pub fn build(&self, path: &Path) -> Result<DenseNet> {
        DenseNet::new(self, path)
    }
}

impl DenseNet {
    fn new(config: &DenseNetConfig, path: &Path) -> Result<Self> {
        let stages = config.stages()?;
        let convs = config.stem_convs();
        let layout = layout(config, &convs, &stages);
        let (features, draws) = (path / "features", Draws::seeded(config.seed));
        let (initialization, norm) = (config.initialization, config.norm);
        let channels = stages.last().expect("there is at least one block").out_channels;
        let stem = config.stem.build(&features, &convs, initialization, &norm, &draws)?;
        let stages = (1..).zip(&stages).map(|(b, stage)| {
            let block = DenseBlock::new(&stage.layers, &(&features / format!("denseblock{b}")), &draws)?;
            let path = &features / format!("transition{b}");
            let transition = stage.transition.as_ref().map(|transition| transition.build_from(&path, &draws));
            Ok((block, transition.transpose()?))
        });
        Ok(DenseNet {
            layout,
            stem,
            stages: stages.collect::<Result<_>>()?,
            // torchvision's name, whatever the number of blocks.
            norm: norm.build(&(&features / "norm5"), channels)?,
            classifier: build_linear(&(path / "classifier"), channels, config.classes, initialization, &draws)?,
            config: config.clone(),
        })
    }

    /// Returns the configuration that the network was built from.
    pub fn config(&self) -> &DenseNetConfig {
        &self.config
    }

    /// Computes the last feature maps `[N, C, h, w]`, after norm and ReLU, as the input of another head.
    ///
    /// # Errors
    ///
    /// Those of [`Model::forward`].
    pub fn forward_features(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        Ok(self.feature_maps(x, ctx)?.pop().expect("there is at least one block"))
    }

    /// Computes the feature maps at the end of each dense block, before the transition, `[N, C, h, w]` each: for
    /// detection and segmentation. Those of the last block are after norm and ReLU.
    ///
    /// # Errors
    ///
    /// Those of [`Model::forward`].
    pub fn feature_maps(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Vec<Tensor>> {
        self.check_input(&x.size(), ctx.mode)?;
        ctx.in_precision(x.device(), || {
            let mut maps = Vec::with_capacity(self.stages.len());
            let features = self.features(x, ctx, |features| maps.push(features.data.shallow_clone()))?;
            maps.pop();
            maps.push(self.norm.forward(&features, ctx)?);
            Ok(maps)
        })?
    }

    /// Runs stem, blocks and transitions. `each` is called with the output of each block.
    fn features(&self, x: &Tensor, ctx: &ForwardContext, mut each: impl FnMut(&Features)) -> Result<Features> {
        let mut features = self.stem.forward(x, ctx)?;
        for (block, transition) in &self.stages {
            features = block.forward(features, ctx)?;
            each(&features);
            if let Some(transition) = transition {
                features = transition.forward(&features, ctx)?;
            }
        }
        Ok(features)
    }

    /// Runs the head: global average pooling and the classifier. Its matrix is small, and the loss is computed from its
    /// output, so it runs in the variables' own dtype.
    fn head(&self, features: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        let pooled = self.norm.forward_pooled(features, ctx)?;
        check_tensor(&pooled, &self.classifier.ws)?;
        Ok(self.classifier.forward(&pooled))
    }
}

impl Model for DenseNet {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        self.check_input(&x.size(), ctx.mode)?;
        let features = ctx.in_precision(x.device(), || self.features(x, ctx, |_| {}))??;
        self.head(&features, ctx)
    }

    fn classes(&self) -> Option<usize> {
        Some(self.config.classes)
    }

    fn configuration(&self) -> serde_json::Value {
        serde_json::json!({ "densenet": self.config })
    }

    fn check_input(&self, shape: &[i64], mode: Mode) -> Result<()> {
        match shape {
            &[n, c, h, w] if c == self.config.input_channels as i64 => {
                layout::check(&self.layout, n as usize, [h as usize, w as usize], mode)
            }
            _ => Err(input_shape_error(shape, self.config.input_channels)),
        }
    }
}

impl ModuleT for DenseNet {
    /// # Panics
    ///
    /// Where [`Model::forward`] returns an error.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        Model::forward(self, xs, &ForwardContext::of_module(train)).unwrap_or_else(|error| panic!("{error}"))
    }
}
