//! Weights in and out: all of them or none.

mod load;
mod names;
#[cfg(feature = "pth")]
mod pytorch;
mod save;
mod source;

pub use load::{Head, LoadConfig, LoadReport, Names, Part, StemChannels, Used, inspect, load};
pub use save::save_safetensors;
pub use source::TensorInfo;
