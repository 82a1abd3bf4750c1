//! Models: the seam to the trainer, and the DenseNet family.

mod config;
mod densenet;
mod layout;
mod model;
mod plan;
mod presets;

pub use config::DenseNetConfig;
pub use densenet::DenseNet;
pub use model::{Model, ModuleModel};
pub use plan::{Plan, PlanRow};
