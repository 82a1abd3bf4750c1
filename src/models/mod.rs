//! Models: the interface to the trainer, and the DenseNet family.

mod config;
mod densenet;
mod layout;
mod model;
mod presets;
mod summary;
mod variables;

pub use config::DenseNetConfig;
pub use densenet::DenseNet;
pub use model::{Model, ModuleModel};
pub use summary::{Summary, SummaryRow};
