//! The densely connected network: stem, dense blocks with transitions between them, head.

use super::config::DenseNetConfig;
use super::layout::{self, Layer, layout};
use super::model::{Model, input_shape_error};
use crate::Result;
use crate::nn::{
    DenseBlock, Features, ForwardContext, Mode, NormRelu, NormReluConfig, Stem, TransitionBlock, build_linear,
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

impl DenseNet {
    pub(super) fn new(config: &DenseNetConfig, path: &Path) -> Result<Self> {
        let layout = layout(config)?;
        let features = path / "features";
        let norm: NormReluConfig = config.norm;
        let convs = config.stem_convs();
        let stem = config.stem.build(&features, &convs, config.initialization, &norm)?;
        let stages = (1..).zip(config.stages()?).map(|(b, stage)| {
            let block = stage.block.build(&(&features / format!("denseblock{b}")))?;
            let transition = stage.transition.map(|t| t.build(&(&features / format!("transition{b}"))));
            Ok((block, transition.transpose()?))
        });
        let channels = config.out_channels()?;
        Ok(DenseNet {
            layout,
            stem,
            stages: stages.collect::<Result<_>>()?,
            // torchvision's name, whatever the number of blocks.
            norm: norm.build(&(&features / "norm5"), channels)?,
            classifier: build_linear(&(path / "classifier"), channels, config.classes, config.initialization)?,
            config: config.clone(),
        })
    }

    /// What the network was built from.
    pub fn config(&self) -> &DenseNetConfig {
        &self.config
    }

    /// The last maps `[N, C, h, w]` after norm and ReLU, of which the head takes the mean: features for another head.
    ///
    /// # Errors
    ///
    /// Those of [`Model::forward`].
    pub fn forward_features(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        Ok(self.feature_maps(x, ctx)?.pop().expect("there is at least one block"))
    }

    /// The maps at the end of each dense block, before the transition that makes them smaller, `[N, C, h, w]` each: for detection and
    /// segmentation. The last ones are after norm and ReLU.
    ///
    /// # Errors
    ///
    /// Those of [`Model::forward`].
    pub fn feature_maps(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Vec<Tensor>> {
        self.check_input(&x.size(), ctx.mode)?;
        ctx.in_precision(x.device(), || {
            let mut maps = Vec::with_capacity(self.stages.len());
            let features = self.features(x, ctx, |features| maps.push(features.data.shallow_clone()));
            maps.pop();
            maps.push(self.norm.forward(&features, ctx));
            maps
        })
    }

    /// Stem, blocks and transitions, one after the other. `each` sees what each block made.
    fn features(&self, x: &Tensor, ctx: &ForwardContext, mut each: impl FnMut(&Features)) -> Features {
        let mut features = self.stem.forward(x, ctx);
        for (block, transition) in &self.stages {
            features = block.forward(features, ctx);
            each(&features);
            if let Some(transition) = transition {
                features = transition.forward(&features, ctx);
            }
        }
        features
    }

    /// Its matrix is small, and its outputs are what the loss is computed of: it runs in the variables' own precision.
    fn head(&self, features: &Features, ctx: &ForwardContext) -> Tensor {
        self.classifier.forward(&self.norm.forward_pooled(features, ctx))
    }
}

impl Model for DenseNet {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        self.check_input(&x.size(), ctx.mode)?;
        let features = ctx.in_precision(x.device(), || self.features(x, ctx, |_| {}))?;
        Ok(self.head(&features, ctx))
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
        Model::forward(self, xs, &ForwardContext::new(Mode::from(train))).unwrap_or_else(|error| panic!("{error}"))
    }
}
