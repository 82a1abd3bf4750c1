//! Optimizers, whose state is named tensors, and learning-rate schedules.

mod adamw;
mod group;
mod layer_decay;
mod optimizer;
mod parameters;
mod range;
mod rule;
mod schedule;
mod sgd;
mod table;

pub use adamw::AdamWConfig;
pub use group::ParameterGroup;
pub use layer_decay::LayerDecay;
pub use optimizer::Optimizer;
pub use rule::ParameterInfo;
pub use schedule::Schedule;
pub use sgd::SgdConfig;
pub use table::{ParameterRow, ParameterTable};
