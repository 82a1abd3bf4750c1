//! Data sets, and the loader that makes batches of them.
//!
//! A [`Dataset`] is anything that returns samples by index. The crate's own are [`FashionMnist`] (its relatives MNIST and
//! KMNIST are [IDX files](InMemoryDataset::open_idx) too), [`Cifar10`] and [`Cifar100`], the
//! [`InMemoryDataset`] for arrays and for [IDX files](InMemoryDataset::open_idx), and the [`SyntheticConfig`] for
//! tests. [`split_validation`] splits one at random, and [`Subset`] selects samples.
//!
//! [`Augmented`] changes the images of another data set at random in training; [`augment`] has the operations.
//!
//! A [`Loader`] iterates over a data set in batches, epoch by epoch, with worker threads. A [`Batch`] is plain memory;
//! [`Preprocess`] converts it to tensors on the training device.

pub mod augment;
mod augmented;
mod batch;
mod check;
mod cifar;
mod dataset;
#[cfg(feature = "download")]
mod download;
mod fashion_mnist;
mod fingerprint;
mod gzip;
mod idx;
mod image;
#[cfg(feature = "images")]
mod image_folder;
mod in_memory;
mod key;
mod known_file;
mod loader;
mod locate;
mod preprocess;
mod random;
mod subset;
mod synthetic;
mod validation;

pub use augment::Augment;
pub use augmented::Augmented;
pub use batch::{Batch, SkippedSample, Targets, Values};
pub(crate) use check::check_keys;
pub use cifar::{Cifar10, Cifar100};
pub use dataset::Dataset;
pub(crate) use dataset::fetch;
pub use fashion_mnist::{FashionMnist, Split};
pub(crate) use fingerprint::Fingerprint;
#[cfg(feature = "images")]
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
pub use image::{Alpha, Color, ImageHeader};
pub use image::{Fit, Image, Interpolation};
pub(crate) use image::{Pixels, Rectangle};
#[cfg(feature = "images")]
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
pub use image_folder::{BadFile, BadFilePolicy, ImageConfig, ImageFolder, ImageTable, ScanReport};
pub use in_memory::{InMemoryDataset, Layout};
pub use key::{Phase, SampleKey};
pub use loader::{Loader, LoaderConfig};
pub use preprocess::Preprocess;
pub(crate) use preprocess::raw_tensors;
pub(crate) use random::{Purpose, Random};
pub use subset::Subset;
pub use synthetic::SyntheticConfig;
pub use validation::split_validation;
