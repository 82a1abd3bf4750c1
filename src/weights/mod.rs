//! Weights in files: pretrained ones of other libraries in, safetensors out. A file is loaded completely or not at all.

mod load;
mod looks_like;
mod names;
mod open;
#[cfg(feature = "pth")]
mod pytorch;
mod report;
mod safetensors;
mod source;

pub use load::{LoadConfig, inspect, load};
pub use report::LoadReport;
pub use safetensors::save_safetensors;
pub use source::TensorInfo;
