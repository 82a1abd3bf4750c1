//! The stem: the first convolution and what follows it, before the first dense block.

use super::{ConvBias, ConvGeometry, Features, ForwardContext, Initialization, NormRelu, NormReluConfig, fused};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, Module, Path};

/// What follows the stem's convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StemPool {
    /// Nothing: the first dense block normalises by itself.
    Bare,
    /// Norm → ReLU → max pooling 3×3, stride 2, padding 1.
    NormReluMaxPool,
}

/// Configuration of a [`Stem`]: a square convolution and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StemConfig {
    /// Side of the convolution's kernel in pixels, at least 1.
    pub kernel: usize,
    /// Stride of the convolution in pixels, at least 1.
    pub stride: usize,
    /// Zero padding on each side in pixels, less than `kernel`.
    pub padding: usize,
    /// What follows.
    pub pool: StemPool,
}

impl StemConfig {
    /// 7×7, stride 2, padding 3, then norm, ReLU and pooling: the paper's for ImageNet.
    pub fn imagenet() -> Self {
        StemConfig { kernel: 7, stride: 2, padding: 3, pool: StemPool::NormReluMaxPool }
    }

    /// 3×3, stride 1, padding 1, nothing after it: the paper's for CIFAR.
    pub fn cifar() -> Self {
        StemConfig { kernel: 3, stride: 1, padding: 1, pool: StemPool::Bare }
    }

    setters! {
        with_kernel => kernel: usize,
        with_stride => stride: usize,
        with_padding => padding: usize,
        with_pool => pool: StemPool,
    }

    pub(crate) fn check(&self) -> Result<()> {
        Error::at_least_one("kernel of the stem", self.kernel)?;
        Error::at_least_one("stride of the stem", self.stride)?;
        if self.padding < self.kernel && self.kernel <= 1024 && self.stride <= 1024 {
            return Ok(());
        }
        let value = format!("kernel {}, stride {}, padding {}", self.kernel, self.stride, self.padding);
        let expected = "a padding below the kernel's side, and a kernel and a stride of at most 1024";
        Err(Error::InvalidConfig { field: "stem", value, expected })
    }

    pub(crate) fn conv(&self, in_channels: usize, out_channels: usize, bias: ConvBias) -> ConvGeometry {
        let StemConfig { kernel, stride, padding, .. } = *self;
        ConvGeometry { in_channels, out_channels, kernel, stride, padding, bias }
    }

    /// Builds the stem with the variables `conv0.*` and, where a norm follows, `norm0.*` under `path`.
    pub(crate) fn build(
        &self,
        path: &Path,
        conv: ConvGeometry,
        initialization: Initialization,
        norm: &NormReluConfig,
    ) -> Result<Stem> {
        self.check()?;
        Ok(Stem {
            conv: conv.build(&(path / "conv0"), initialization)?,
            norm: match self.pool {
                StemPool::Bare => None,
                StemPool::NormReluMaxPool => Some(norm.build(&(path / "norm0"), conv.out_channels)?),
            },
        })
    }
}

/// Convolution, and norm → ReLU → max pooling where the configuration asks for it.
#[derive(Debug)]
pub struct Stem {
    conv: nn::Conv2D,
    norm: Option<NormRelu>,
}

impl Stem {
    /// Makes the first features of pictures `[N, C, H, W]`.
    pub fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Features {
        let y = self.conv.forward(x);
        Features::new(match &self.norm {
            None => y,
            Some(norm) if ctx.fused() && fused::takes(&y) => {
                norm.check(&y, ctx);
                fused::norm_relu_max_pool(&y, norm, ctx).unwrap_or_else(|error| panic!("{error}"))
            }
            Some(norm) => norm.forward(&Features::new(y), ctx).max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false),
        })
    }
}
