//! The parts of a DenseNet: stem, dense block, transition, and their layers.
//!
//! Each public part is a configuration (plain data) and a module that
//! [`build`](DenseBlockConfig::build) makes of it. [`Features`] go from part to part: values
//! `[N, C, H, W]` and, where the part before knew them, the batch statistics of each channel. A
//! [`ForwardContext`] says how a forward pass is run.

mod context;
mod conv;
mod dense_block;
mod dense_layer;
mod dropout;
mod features;
pub(crate) mod fused;
mod head;
mod initialization;
mod norm_relu;
mod stem;
mod transition;

pub use context::{Execution, ForwardContext, Mode, Precision};
pub use dense_block::{DenseBlock, DenseBlockConfig};
pub use dropout::Dropout;
pub use features::Features;
pub use initialization::Initialization;
pub use norm_relu::NormReluConfig;
pub use stem::{Downsampling, StemConfig, StemPool};
pub use transition::{TransitionBlock, TransitionBlockConfig};

pub(crate) use context::Memory;
pub(crate) use conv::{ConvGeometry, build_linear, checked};
pub(crate) use dense_layer::{DenseLayerConfig, LayerKind};
pub(crate) use dropout::DropoutPlace;
pub(crate) use features::Statistics;
pub(crate) use initialization::Draws;
pub(crate) use norm_relu::NormRelu;
pub(crate) use stem::{Stem, blurred_half};
