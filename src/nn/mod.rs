//! The parts of a DenseNet: stem, dense block, transition, and what they are made of.
//!
//! Each part is a configuration (plain data) and a module that [`build`](DenseBlockConfig::build) makes of it. Between the
//! parts go [`Features`]: values `[N, C, H, W]` and, where the writer knew them, the batch statistics of each channel.

mod context;
mod conv;
mod dense_block;
mod dense_layer;
mod dropout;
mod features;
pub(crate) mod fused;
mod norm_relu;
mod stem;
mod transition;

pub use context::{Execution, ForwardContext, Memory, Mode, Precision};
pub use conv::{ConvBias, Initialization};
pub use dense_block::{DenseBlock, DenseBlockConfig};
pub use dense_layer::{DenseLayer, DenseLayerConfig, LayerKind};
pub use dropout::{Dropout, DropoutPlace};
pub use features::{Features, Statistics};
pub use norm_relu::{NormRelu, NormReluConfig};
pub use stem::{Downsampling, Stem, StemConfig, StemDepth, StemPool};
pub use transition::{TransitionBlock, TransitionBlockConfig};

pub(crate) use conv::{ConvGeometry, build_linear, checked};
pub(crate) use stem::blurred_half;
