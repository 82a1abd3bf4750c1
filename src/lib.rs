//! densenet
pub mod error;
pub mod nn;
pub mod models;
pub mod torch;
pub use error::{Error, Result};
pub use models::*;
pub use tch;
