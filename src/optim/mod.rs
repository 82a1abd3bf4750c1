//! Optimizers, whose state is named tensors, and learning-rate schedules.

mod adamw;
mod optimizer;
mod parameters;
mod schedule;
mod sgd;

pub use adamw::AdamWConfig;
pub use optimizer::Optimizer;
pub use schedule::Schedule;
pub use sgd::SgdConfig;
