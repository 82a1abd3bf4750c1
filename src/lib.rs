//! Train, fine-tune and ship densely connected networks on libtorch.
//!
//! A [DenseNet](https://arxiv.org/abs/1608.06993) is an image classifier whose layers each read the
//! feature maps of all layers before them. This crate builds such networks out of typed parts, trains
//! them, reads and writes their weights, and serves their predictions. It works on the tensors of
//! [`tch`], which is re-exported together with [`ndarray`], so that a program uses the versions that fit.
//!
//! This page is a tour. Each section shows one concept in a program that runs.
//!
//! # Building a network
//!
//! [`DenseNetConfig`] holds everything that defines a network. It starts with defaults, `with_…`
//! methods change them, and [`build`](DenseNetConfig::build) checks all of it at once and creates the
//! variables in a [`VarStore`](tch::nn::VarStore). [`summary`](DenseNetConfig::summary) lists shapes,
//! parameters and multiply-adds of every layer before anything is built.
//!
//! ```
//! use densenet::{DenseNetConfig, default_device, tch::nn::VarStore};
//!
//! let config = DenseNetConfig::new(10)            // classes
//!     .with_input_channels(1)
//!     .with_growth_rate(32)
//!     .with_layers_per_block([4, 4, 4, 4]);
//! println!("{}", config.summary([1, 96, 96])?);
//!
//! let vs = VarStore::new(default_device());
//! let model = config.build(&vs.root())?;
//! # let _ = model;
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! The networks of the paper and of torchvision are presets, such as
//! [`DenseNetConfig::densenet121`]. The parts are in [`nn`]: a [`DenseBlock`] or a [`TransitionBlock`]
//! is a [`ModuleT`](tch::nn::ModuleT) and works in anybody's `SequentialT`.
//!
//! # Data
//!
//! A [`Dataset`] hands out samples by index. `data::ImageFolder` reads a folder of images with one
//! folder per class, `data::ImageTable` a CSV file of paths and labels, [`data::InMemoryDataset`]
//! wraps arrays, [`FashionMnist`] and [`data::Cifar10`] read the well-known files, and
//! [`data::SyntheticConfig`] makes simple images for tests. Images are augmented in training by
//! [`data::Augment`] and [`data::Augmented`], and batches mixed by [`train::Mixing`]. What happens to
//! each batch on the training device, such as normalization, is a [`Preprocess`].
//!
//! ```
//! use densenet::data::{Dataset, InMemoryDataset};
//! use densenet::ndarray::Array4;
//!
//! // 20 gray images of 16×16 pixels in two classes.
//! let images = Array4::<u8>::zeros([20, 1, 16, 16]);
//! let labels = (0..20).map(|index| index % 2).collect();
//! let dataset = InMemoryDataset::from_array(images, labels, &["cat", "dog"])?;
//! assert_eq!((dataset.len(), dataset.classes().len()), (20, 2));
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! # Training
//!
//! A [`Trainer`] takes the variables, the model, an optimizer and a [`TrainConfig`]. It knows no
//! DenseNet: any [`Model`], any data set and any loss will do. [`fit`](Trainer::fit) returns the
//! history, one record per epoch.
//!
//! ```
//! use densenet::data::SyntheticConfig;
//! use densenet::{Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer, tch::nn::VarStore};
//!
//! let vs = VarStore::new(densenet::default_device());
//! let model = DenseNetConfig::new(4)
//!     .with_input_channels(1)
//!     .with_initial_channels(16)
//!     .with_growth_rate(8)
//!     .with_layers_per_block([2, 2])
//!     .build(&vs.root())?;
//! let optimizer = SgdConfig::new(0.1).build(&vs)?;                              // learning rate
//! let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(3))?;   // epochs
//!
//! let samples = SyntheticConfig::new(512).with_sample_shape([1, 16, 16]).with_classes(4);
//! let (train, test) = (samples.clone().build()?, samples.with_seed(1).build()?);
//! let history = trainer.fit(&Datasets::new(&train).with_test(&test))?;
//! let test = history.last().unwrap().test.as_ref().unwrap();
//! assert!(test.accuracy().unwrap() > 0.5);
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! The seeds of network and run default to 0, so that the same program gives the same result.
//!
//! # Metrics, callbacks and early stopping
//!
//! Loss and accuracy are always measured. [`Trainer::with_metric`] adds any other
//! [`Metric`](metrics::Metric), which then appears in the history, the log, the CSV file and the
//! curves under its name. A [`Callback`](train::Callback) is called at every event of a run and may
//! end it. Progress bars, logs, reports, early stopping and saving of weights are callbacks. What
//! chooses between epochs looks at the validation set, so that the test set only reports.
//!
//! ```
//! use densenet::data::{SyntheticConfig, split_validation};
//! use densenet::train::{Callback, EarlyStop, Event, Monitor, Run};
//! use densenet::{Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer, tch::nn::VarStore};
//! use std::ops::ControlFlow;
//!
//! struct PrintLearningRate;
//!
//! impl Callback for PrintLearningRate {
//!     fn on_event(&mut self, event: &Event, _: &Run) -> densenet::Result<ControlFlow<()>> {
//!         if let Event::EpochEnded { record, .. } = event {
//!             println!("epoch {}: learning rate {}", record.epoch, record.learning_rate);
//!         }
//!         Ok(ControlFlow::Continue(()))
//!     }
//! }
//!
//! # let vs = VarStore::new(densenet::default_device());
//! # let config = DenseNetConfig::new(4).with_input_channels(1).with_initial_channels(8);
//! # let model = config.with_growth_rate(4).with_layers_per_block([1, 1]).build(&vs.root())?;
//! # let optimizer = SgdConfig::new(0.1).build(&vs)?;
//! let samples = SyntheticConfig::new(128).with_sample_shape([1, 16, 16]).with_classes(4).build()?;
//! let (train, validation) = split_validation(&samples, 0.25, 0)?;
//! let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(2))?
//!     .with_callback(EarlyStop::after(5).with_monitor(Monitor::accuracy()))
//!     .with_callback(PrintLearningRate);
//! trainer.fit(&Datasets::new(&train).with_validation(&validation))?;
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! # Checkpoints and resume
//!
//! [`Trainer::with_checkpoints`] saves the state of a run as it goes. The same program with
//! [`with_resume`](train::CheckpointConfig::with_resume) starts a run or continues it, after a kill at
//! any moment, and ends with the same weights, bit for bit.
//!
//! ```
//! use densenet::train::{CheckpointConfig, SaveEvery};
//!
//! let checkpoints = CheckpointConfig::in_folder("runs/flowers/checkpoints")
//!     .with_every(SaveEvery::Steps(500))
//!     .with_resume();
//! # let _ = checkpoints;
//! ```
//!
//! # Pretrained weights
//!
//! [`weights::load`] reads safetensors files and the files of `torch.save`, with the variable names of
//! torchvision, timm and efficient_densenet_pytorch. Weights load completely or not at all, and
//! loading runs no code of the file. [`weights::save_safetensors`] writes what torchvision loads.
//!
//! ```no_run
//! use densenet::weights::{LoadConfig, load};
//! use densenet::{DenseNetConfig, default_device, tch::nn::VarStore};
//!
//! let vs = VarStore::new(default_device());
//! let model = DenseNetConfig::densenet121(5).build(&vs.root())?;
//! // The file has 1000 classes: the classifier of five classes keeps its initial weights.
//! println!("{}", load(&vs, "densenet121.pth", &LoadConfig::new().with_new_head())?);
//! # let _ = model;
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! A part of a network is frozen by [`nn::freeze`], and an optimizer treats parts differently by
//! [`optim::ParameterGroup`]. A [`weights::Bundle`] describes a network in the file of its weights, for
//! [`Predictor::open`](predict::Predictor::open).
//!
//! # Predictions
//!
//! [`predict::predict`] runs a model over a data set. A [`Predictor`](predict::Predictor) owns a model
//! in a thread of its own and answers any number of threads, whose images it batches.
//!
//! ```
//! use densenet::data::{Image, Values};
//! use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
//! use densenet::{DenseNetConfig, default_device, tch::nn::VarStore};
//!
//! # let vs = VarStore::new(default_device());
//! # let config = DenseNetConfig::new(2).with_input_channels(1).with_initial_channels(8);
//! let model = config.with_growth_rate(4).with_layers_per_block([1, 1]).build(&vs.root())?;
//! let predictor = Predictor::start(model, PredictorConfig::new(PredictConfig::default()))?;
//! let image = Image::new([1, 16, 16], Values::U8(vec![128; 256]))?;
//! let best = &predictor.predict(image)?.top(1)[0];
//! assert!(best.probability >= 0.5);
//! # Ok::<(), densenet::Error>(())
//! ```
//!
//! # Errors
//!
//! Everything that can fail returns [`Error`], which has one variant per domain. Each names the thing
//! that was wrong and its value. `Debug` prints the message with its causes, so that `fn main() ->
//! densenet::Result<()>` is a good way to end a program.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`data`] | data sets, the loader, preprocessing |
//! | [`nn`] | dense blocks, transitions, and how a forward pass runs |
//! | [`models`] | [`DenseNet`], its presets and its summary; the [`Model`] trait |
//! | [`optim`] | SGD, AdamW and learning-rate schedules |
//! | [`metrics`] | the [`Metric`](metrics::Metric) trait, loss, accuracy, the confusion matrix |
//! | [`train`] | the [`Trainer`], its configuration, callbacks, checkpoints |
//! | [`weights`] | files of pretrained weights |
//! | [`predict`] | predictions of a trained model |
//! | [`report`] | progress bars, log lines, CSV, `report.html` |
//! | [`torch`](mod@torch) | what tch lacks: devices, custom autograd functions |
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
pub use serde_json;
pub use tch;

/// Compiles and runs the program in the README with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
