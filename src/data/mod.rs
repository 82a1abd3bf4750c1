//! Where samples come from: data sets, and the loader that makes batches of them.
//!
//! A [`Dataset`] is anything that can hand out samples by index; [`FashionMnist`], [`InMemoryDataset`] and
//! [`SyntheticDataset`] are some. A [`Loader`] goes through one in batches, epoch by epoch, with worker threads. A [`Batch`]
//! is plain memory and becomes tensors on the training device.

mod batch;
mod check;
mod dataset;
#[cfg(feature = "download")]
mod download;
mod fashion_mnist;
mod fingerprint;
mod gzip;
mod idx;
mod image;
mod in_memory;
mod known_file;
mod loader;
mod locate;
mod preprocess;
mod random;
mod subset;
mod synthetic;
mod validation;

pub use batch::{Batch, Targets, Values};
pub use dataset::{Dataset, Phase, SampleKey};
#[cfg(feature = "download")]
pub use download::DownloadConfig;
pub use fashion_mnist::{FashionMnist, Split};
pub use fingerprint::Fingerprint;
pub use idx::{IdxArray, IdxLimits, open_idx_pair, read_idx};
#[cfg(feature = "images")]
pub use image::Color;
pub use image::Image;
pub use in_memory::InMemoryDataset;
pub use known_file::KnownFile;
pub use loader::{LastBatch, Loader, LoaderConfig, Order};
pub use preprocess::{Normalization, Preprocess, Resize};
pub use subset::Subset;
pub use synthetic::{SyntheticConfig, SyntheticDataset};
pub use validation::{ValidationSize, split_validation};
