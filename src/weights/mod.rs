//! Weights in files: pretrained ones of other libraries in, safetensors out. A file is loaded completely or not at all.
//!
//! [`load`] reads the weights of a network that the program builds. A [`Bundle`] is a file that also describes the
//! network, its classes and its preprocessing:
//!
//! ```
//! use densenet::weights::{Bundle, LoadConfig, load};
//! use densenet::{DenseNetConfig, Preprocess, tch::Device, tch::nn::VarStore};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("model.safetensors");
//! let config = DenseNetConfig::new(2).with_growth_rate(8).with_layers_per_block([2, 2]);
//! let vs = VarStore::new(Device::Cpu);
//! config.build(&vs.root())?;
//! let preprocess = Preprocess::new().with_size([64, 64]);
//! Bundle::new(config.clone()).with_classes(["cat", "dog"]).with_preprocess(preprocess).save(&vs, &path)?;
//!
//! let (bundle, vs, model) = Bundle::open(&path, Device::Cpu)?;      // a network that predicts
//! assert_eq!(bundle.classes, ["cat", "dog"]);
//! let report = load(&vs, &path, &LoadConfig::new())?;               // its weights alone
//! assert_eq!(report.missing.len(), 0);
//! # let _ = model;
//! # Ok::<(), densenet::Error>(())
//! ```

mod bundle;
mod load;
mod looks_like;
mod names;
mod open;
#[cfg(feature = "pth")]
mod pytorch;
mod report;
mod safetensors;
mod source;

pub use bundle::Bundle;
pub use load::{LoadConfig, inspect, load};
pub use report::LoadReport;
pub use safetensors::save_safetensors;
pub(crate) use safetensors::save_with_metadata;
pub use source::TensorInfo;
