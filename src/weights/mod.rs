//! Weights in and out: one file a format.

mod safetensors;

pub use safetensors::{load_safetensors, save_safetensors};
