//! Optimizers, whose state is named tensors, and learning-rate schedules.

mod adamw;
mod optimizer;
mod parameters;
mod schedule;
mod sgd;

pub use adamw::{AdamW, AdamWConfig};
pub use optimizer::Optimizer;
pub use schedule::{Milestones, Schedule};
pub use sgd::{Nesterov, Sgd, SgdConfig};
