//! The stem: the first convolution and the operations between it and the first dense block.

use super::input::check_tensor;
use super::{
    ConvGeometry, Draws, Features, ForwardContext, Initialization, NormRelu, NormReluConfig, checked,
    fused::{self, Engine},
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, Path};

/// Blurs maps `[N, C, H, W]`, both sides at least 2, by (1, 2, 1)/4 in both directions with mirrored edges, and returns
/// every second pixel: `[N, C, ⌈H/2⌉, ⌈W/2⌉]`. The output is less sensitive to shifts of the image by a pixel than that
/// of a pooling. timm's `BlurPool2d`.
///
/// # Source
///
/// Zhang: *Making Convolutional Networks Shift-Invariant Again*, ICML 2019.
pub(crate) fn blurred_half(x: &Tensor) -> Tensor {
    let channels = x.size()[1];
    let line = Tensor::from_slice(&[0.25, 0.5, 0.25]).to_kind(x.kind()).to_device(x.device());
    let kernel = line.outer(&line).view([1, 1, 3, 3]).expand([channels, 1, 3, 3], false);
    x.reflection_pad2d([1, 1, 1, 1]).conv2d(&kernel, None::<Tensor>, [2, 2], [0, 0], [1, 1], channels)
}

config! {
    /// Configuration of a stem: one or three square convolutions and the operations that follow them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct StemConfig {
        /// Side of the convolution's kernel in pixels, at least 1.
        pub kernel: usize => with_kernel,
        /// Stride of the convolution in pixels, at least 1.
        pub stride: usize => with_stride,
        /// Zero padding on each side in pixels, less than `kernel`.
        pub padding: usize => with_padding,
        /// Whether norm, ReLU and 3×3 max pooling of stride 2 follow the convolutions. Without them the first dense
        /// block begins with a norm.
        pub(crate) pool: bool,
        /// Whether a blur halves the sides instead of the max pooling's stride.
        pub(crate) blur: bool [serde(default)],
        /// Channels that the first two of three convolutions write, with norm and ReLU between them: timm's deep stem.
        /// Default: `None`, one convolution as in the paper.
        pub deep_width: Option<usize> [serde(default)],
    }
}

impl StemConfig {
    /// Describes the paper's stem for ImageNet: 7×7, stride 2, padding 3, then norm, ReLU and pooling.
    pub fn imagenet() -> Self {
        StemConfig { kernel: 7, stride: 2, padding: 3, pool: true, blur: false, deep_width: None }
    }

    /// Describes the paper's stem for CIFAR: 3×3, stride 1, padding 1, nothing after it.
    pub fn cifar() -> Self {
        StemConfig { kernel: 3, stride: 1, padding: 1, pool: false, blur: false, deep_width: None }
    }

    /// Describes timm's deep stem: three convolutions 3×3, the first with stride 2 and the first two of `width`
    /// channels, then norm, ReLU and pooling. timm's width is the growth rate.
    pub fn deep(width: usize) -> Self {
        StemConfig { kernel: 3, stride: 2, padding: 1, deep_width: Some(width), ..StemConfig::imagenet() }
    }

    /// Gives the max pooling stride 1, and halves the sides by every second pixel of a 3×3 blur instead, as timm's
    /// `densenetblur121d` does. Has no effect on [`cifar`](Self::cifar), which has no pooling. Default: without.
    #[must_use]
    pub fn with_blur(self) -> Self {
        StemConfig { blur: true, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        Error::at_least_one("kernel of the stem", self.kernel)?;
        Error::at_least_one("stride of the stem", self.stride)?;
        if let Some(width) = self.deep_width {
            Error::at_least_one("width of the stem", width)?;
            checked("width of the stem", Some(width))?;
        }
        if self.padding < self.kernel && self.kernel <= 1024 && self.stride <= 1024 {
            return Ok(());
        }
        let value = format!("kernel {}, stride {}, padding {}", self.kernel, self.stride, self.padding);
        let expected = "a padding below the kernel's side, and a kernel and a stride of at most 1024";
        Err(Error::invalid_value("stem", value, expected))
    }

    /// Returns the convolutions in their order.
    pub(crate) fn convs(&self, in_channels: usize, out_channels: usize, bias: bool) -> Vec<ConvGeometry> {
        let StemConfig { kernel, stride, padding, .. } = *self;
        let first = ConvGeometry { in_channels, out_channels, kernel, stride, padding, bias };
        match self.deep_width {
            None => vec![first],
            Some(width) => {
                let conv = |in_channels, out_channels| ConvGeometry { in_channels, out_channels, stride: 1, ..first };
                vec![ConvGeometry { out_channels: width, ..first }, conv(width, width), conv(width, out_channels)]
            }
        }
    }

    /// Builds the stem with the variables `conv0.*` and, where a norm follows, `norm0.*` under `path`; with `conv1.*`
    /// and so on where there are several.
    pub(crate) fn build(
        &self,
        path: &Path,
        convs: &[ConvGeometry],
        initialization: Initialization,
        norm: &NormReluConfig,
        draws: &Draws,
    ) -> Result<Stem> {
        self.check()?;
        let last = convs.len() - 1;
        let stages = convs.iter().enumerate().map(|(number, conv)| {
            let has_norm = number < last || self.pool;
            let built = conv.build(&(path / format!("conv{number}")), initialization, draws)?;
            let norm = has_norm.then(|| norm.build(&(path / format!("norm{number}")), conv.out_channels));
            Ok((built, norm.transpose()?))
        });
        Ok(Stem { stages: stages.collect::<Result<_>>()?, blur: self.blur })
    }
}

/// Convolutions with norm → ReLU between them, and norm → ReLU → max pooling where the configuration says so.
#[derive(Debug)]
pub(crate) struct Stem {
    stages: Vec<(nn::Conv2D, Option<NormRelu>)>,
    blur: bool,
}

impl Stem {
    /// Computes the first features from images `[N, C, H, W]`, whose shape has been checked.
    pub(crate) fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Features> {
        let (last, first) = self.stages.split_last().expect("there is a convolution");
        check_tensor(x, &self.stages[0].0.ws)?;
        let rectified = |x: Tensor, norm: &NormRelu| norm.forward(&Features::new(x), ctx);
        let x = first.iter().try_fold(x.shallow_clone(), |x, (conv, norm)| match norm {
            Some(norm) => rectified(conv.forward(&x), norm),
            None => Ok(conv.forward(&x)),
        })?;
        let y = last.0.forward(&x);
        let Some(norm) = &last.1 else { return Ok(Features::new(y)) };
        let pooled = |y: &Tensor, stride| y.max_pool2d([3, 3], [stride, stride], [1, 1], [1, 1], false);
        Ok(Features::new(if self.blur {
            blurred_half(&pooled(&rectified(y, norm)?, 1))
        } else if Engine::of(&y, ctx) == Engine::CpuKernels {
            norm.check(&y, ctx)?;
            fused::norm_relu_max_pool(&y, norm, ctx)?
        } else {
            pooled(&rectified(y, norm)?, 2)
        }))
    }
}
