//! Ready-made configurations.

use super::DenseNetConfig;
use crate::nn::{ConvBias, Initialization, LayerKind, StemConfig};

impl DenseNetConfig {
    /// The network that the `fashion_mnist` example trains: 10 classes, one channel, four blocks of four plain layers, growth
    /// rate 32, biases, Xavier initialisation, a 7×7 stem with padding 1. Meant for 1×96×96 pictures; 758,226 parameters.
    pub fn fashion_mnist() -> Self {
        DenseNetConfig::d2l().with_stem(StemConfig::imagenet().with_padding(1))
    }

    /// The network of the DenseNet chapter of *Dive into Deep Learning* (d2l.ai): as
    /// [`fashion_mnist`](Self::fashion_mnist), but with the stem's usual padding of 3.
    pub fn d2l() -> Self {
        DenseNetConfig::new(10)
            .with_input_channels(1)
            .with_layers_per_block([4, 4, 4, 4])
            .with_layer_kind(LayerKind::Plain)
            .with_conv_bias(ConvBias::With)
            .with_initialization(Initialization::XavierUniform)
    }
}
