//! Train, fine-tune and ship densely connected networks on libtorch.
//!
//! # A tour
//!
//! | module | what it is for |
//! |---|---|
//! | [`data`] | where samples come from: [`Dataset`], Fashion-MNIST and other IDX files, synthetic data, the [`Loader`](data::Loader) |
//! | [`nn`] | the parts: [`DenseBlock`], [`TransitionBlock`], stem, norms |
//! | [`models`] | [`DenseNet`], its configuration, its [summary](models::Summary); the [`Model`] seam |
//! | [`optim`] | SGD, AdamW, schedules |
//! | [`train`] | the [`Trainer`], its configuration, [callbacks](train::Callback), early stopping |
//! | [`predict`] | answers of a trained model, and a [`Predictor`](predict::Predictor) for many threads |
//! | [`report`] | progress bars, log lines, CSV, `report.html` |
//! | [`metrics`] | loss, accuracy, the confusion matrix |
//! | [`weights`] | files of weights, torchvision's and others', in; safetensors out |
//! | [`torch`](mod@torch) | the bridge to what tch has no call for |
//!
//! [`tch`] and [`ndarray`] are re-exported, so that a program uses the versions that fit.
//!
//! # Ten lines
//!
//! ```
//! use densenet::data::SyntheticConfig;
//! use densenet::{Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer, tch::nn::VarStore};
//!
//! let vs = VarStore::new(densenet::default_device());
//! let model = DenseNetConfig::new(4)                   // classes
//!     .with_input_channels(1)
//!     .with_initial_channels(16)
//!     .with_growth_rate(8)
//!     .with_layers_per_block([2, 2])
//!     .build(&vs.root())?;
//! let optimizer = SgdConfig::new(0.1).build(&vs)?;     // learning rate
//! let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(3))?;   // epochs
//! let samples = SyntheticConfig::new(512).with_sample_shape([1, 16, 16]).with_classes(4);
//! let (train, test) = (samples.clone().build()?, samples.with_seed(1).build()?);
//! let history = trainer.fit(&Datasets::new(&train).with_test(&test))?;
//! let metrics = history.last().unwrap().test.as_ref().unwrap();
//! assert!(metrics.accuracy().unwrap() > 0.5);
//! # Ok::<(), densenet::Error>(())
//! ```
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod setters;

mod checkpoint;
pub mod data;
pub mod error;
mod files;
mod kernels;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod optim;
pub mod predict;
pub mod report;
mod tensor_file;
pub mod torch;
pub mod train;
pub mod weights;

pub use data::{Dataset, FashionMnist, Preprocess, Split};
pub use error::{Error, Result};
pub use models::{DenseNet, DenseNetConfig, Model};
pub use nn::{DenseBlock, DenseBlockConfig, TransitionBlock, TransitionBlockConfig};
pub use optim::{AdamWConfig, SgdConfig};
pub use train::{Datasets, TrainConfig, Trainer};

pub use torch::{default_device, tune_allocator};

pub use ndarray;
pub use tch;

/// Compiles and runs the program in the README with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
