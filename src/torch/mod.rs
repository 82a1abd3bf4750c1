//! The bridge to libtorch: what tch has no call for.

mod device;
mod ffi;
mod memory_format;
mod variables;
mod versions;

pub use device::{default_device, device_name, parse_device};
pub use memory_format::to_channels_last;
pub use variables::{Variable, named_variables};
pub use versions::{Versions, versions};
