//! Predictions of a trained model: [`predict`] for a data set, and a [`Predictor`] that batches the requests of many
//! threads.
//!
//! A [model bundle](crate::weights::Bundle) has all that a predictor needs:
//!
//! ```no_run
//! use densenet::data::{Image, Values};
//! use densenet::predict::Predictor;
//!
//! let predictor = Predictor::open("model.safetensors")?;
//! let image = Image::new([3, 64, 64], Values::U8(vec![128; 3 * 64 * 64]))?;   // or Image::decode of a file
//! let prediction = predictor.predict(image)?;
//! println!("{:?}", prediction.name(prediction.top(1)[0].class));
//! # Ok::<(), densenet::Error>(())
//! ```

mod batch;
mod config;
mod open;
mod prediction;
mod predictor;
mod semaphore;
mod worker;

pub use batch::{Predictions, predict};
pub use config::{PredictConfig, PredictorConfig};
pub use prediction::Prediction;
pub use predictor::Predictor;
