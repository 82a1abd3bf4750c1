//! Presets of the network's configuration.

use super::DenseNetConfig;
use crate::nn::{Initialization, StemConfig, checked};
use crate::{Error, Result};

impl DenseNetConfig {
    /// Describes the network of the example `fashion_mnist`: 10 classes, one channel, four blocks of four plain layers,
    /// growth rate 32, biases, Xavier initialization, a 7×7 stem with padding 1. Meant for 1×96×96 images; 758,226
    /// parameters.
    pub fn fashion_mnist() -> Self {
        DenseNetConfig::d2l().with_stem(StemConfig::imagenet().with_padding(1))
    }

    /// Describes the network of the DenseNet chapter of *Dive into Deep Learning* (d2l.ai): the same as
    /// [`fashion_mnist`](Self::fashion_mnist) except for the stem's usual padding of 3.
    pub fn d2l() -> Self {
        DenseNetConfig::new(10)
            .with_input_channels(1)
            .with_layers_per_block([4, 4, 4, 4])
            .with_plain_layers()
            .with_conv_bias()
            .with_initialization(Initialization::XavierUniform)
    }

    /// Describes DenseNet-121 for 3×224×224 images: growth rate 32; 7,978,856 parameters with 1000 classes.
    pub fn densenet121(classes: usize) -> Self {
        DenseNetConfig::new(classes)
    }

    /// Describes DenseNet-161: growth rate 48; 28,681,000 parameters with 1000 classes.
    pub fn densenet161(classes: usize) -> Self {
        let net = DenseNetConfig::new(classes).with_growth_rate(48).with_initial_channels(96);
        net.with_layers_per_block([6, 12, 36, 24])
    }

    /// Describes DenseNet-169: growth rate 32; 14,149,480 parameters with 1000 classes.
    pub fn densenet169(classes: usize) -> Self {
        DenseNetConfig::new(classes).with_layers_per_block([6, 12, 32, 32])
    }

    /// Describes DenseNet-201: growth rate 32; 20,013,928 parameters with 1000 classes.
    pub fn densenet201(classes: usize) -> Self {
        DenseNetConfig::new(classes).with_layers_per_block([6, 12, 48, 32])
    }

    /// Describes DenseNet-264: growth rate 32; 33,337,704 parameters with 1000 classes.
    pub fn densenet264(classes: usize) -> Self {
        DenseNetConfig::new(classes).with_layers_per_block([6, 12, 64, 48])
    }

    /// Describes timm's `densenetblur121d`: DenseNet-121 with a deep stem and a blur in its pooling.
    pub fn densenetblur121d(classes: usize) -> Self {
        DenseNetConfig::new(classes).with_stem(StemConfig::deep(32).with_blur())
    }

    /// Describes the paper's plain network for CIFAR: three equal blocks on 3×32×32 images, 10 classes. The paper
    /// trains depths 40 and 100 with growth rates 12 and 24.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a depth that is not 3n + 4, such
    /// as 40.
    pub fn cifar(depth: usize, growth_rate: usize) -> Result<Self> {
        let net = DenseNetConfig::of_cifar(depth, 1, "3n + 4, at least 7")?.with_growth_rate(growth_rate);
        Ok(net.with_plain_layers().with_initial_channels(16).with_compression(1.0))
    }

    /// Describes the paper's DenseNet-BC for CIFAR, with bottleneck layers and compression: three equal blocks on
    /// 3×32×32 images, 10 classes. The paper trains depth 100 with growth rate 12 (769,162 parameters), 250 with 24 and
    /// 190 with 40; its later version, the wider ones of depth 40 with 36, 48 and 60.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a depth that is not 6n + 4, such as
    /// 100; [`ConfigError::Overflow`](crate::error::ConfigError::Overflow).
    pub fn cifar_bc(depth: usize, growth_rate: usize) -> Result<Self> {
        let channels = checked("channels of the stem", growth_rate.checked_mul(2))?;
        let net = DenseNetConfig::of_cifar(depth, 2, "6n + 4, at least 10")?.with_growth_rate(growth_rate);
        Ok(net.with_initial_channels(channels))
    }

    /// Describes a network of three equal blocks. `depth` counts the stem, a convolution in each transition, the
    /// classifier, and `convs_per_layer` in each layer.
    fn of_cifar(depth: usize, convs_per_layer: usize, expected: &'static str) -> Result<Self> {
        match depth.checked_sub(4).map(|rest| (rest / (3 * convs_per_layer), rest % (3 * convs_per_layer))) {
            Some((layers @ 1.., 0)) => {
                Ok(DenseNetConfig::new(10).with_layers_per_block([layers; 3]).with_stem(StemConfig::cifar()))
            }
            _ => Err(Error::invalid_value("depth", depth, expected)),
        }
    }
}
