//! The parts of a DenseNet: stem, dense block, transition, and their layers.
//!
//! Each public part consists of a configuration (plain data) and a module that [`build`](DenseBlockConfig::build)
//! creates from it. Parts pass [`Features`] to each other: values `[N, C, H, W]` and, where the part before knew them,
//! the batch statistics of each channel. A [`ForwardContext`] holds the run-time choices of a forward pass.

mod context;
mod conv;
mod dense_block;
mod dense_layer;
mod dropout;
mod features;
mod freeze;
pub(crate) mod fused;
mod head;
mod initialization;
mod input;
mod layer_choices;
mod norm_relu;
mod stem;
mod transition;

pub use context::{Execution, ForwardContext, Mode, Precision};
pub use dense_block::{DenseBlock, DenseBlockConfig};
pub use dropout::Dropout;
pub use features::Features;
pub use freeze::{freeze, unfreeze};
pub use initialization::Initialization;
pub use norm_relu::NormReluConfig;
pub use stem::StemConfig;
pub use transition::{TransitionBlock, TransitionBlockConfig};

pub(crate) use context::Memory;
pub(crate) use conv::{ConvGeometry, build_linear, checked};
pub(crate) use dense_layer::{DenseLayerConfig, LayerKind};
pub(crate) use dropout::{ConvDropout, drop_values};
pub(crate) use features::Statistics;
pub(crate) use initialization::Draws;
pub(crate) use input::check_tensor;
pub(crate) use layer_choices::layer_choices;
pub(crate) use norm_relu::NormRelu;
pub(crate) use stem::{Stem, blurred_half};
