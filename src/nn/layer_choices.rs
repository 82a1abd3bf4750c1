//! The choice of dense layers, which a block and a network offer in the same way.

/// Writes the methods that choose the dense layers of a block or a network, over the fields `layer_kind` and
/// `conv_bias`.
macro_rules! layer_choices {
    ($name:ident) => {
        impl $name {
            /// Makes layers of one convolution: norm → ReLU → 3×3 convolution, without the bottleneck. Default:
            /// bottleneck layers.
            #[must_use]
            pub fn with_plain_layers(self) -> Self {
                self.with_layer_kind($crate::nn::LayerKind::Plain)
            }

            /// Makes bottleneck layers (DenseNet-B): norm → ReLU → 1×1 convolution to `factor` times the growth rate
            /// channels → norm → ReLU → 3×3 convolution. `factor` is at least 1, torchvision's `bn_size`. Default: 4,
            /// as in the paper.
            #[must_use]
            pub fn with_bottleneck(self, factor: usize) -> Self {
                self.with_layer_kind($crate::nn::LayerKind::Bottleneck { factor })
            }

            /// Adds a bias, which starts at 0, to all convolutions. Before a norm it has no effect, so that modern
            /// networks have none. Default: without.
            #[must_use]
            pub fn with_conv_bias(self) -> Self {
                self.with_bias(true)
            }
        }
    };
}

pub(crate) use layer_choices;
