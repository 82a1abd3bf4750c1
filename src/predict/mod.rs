//! Predictions of a trained model: [`predict`] for a data set, and a [`Predictor`] that batches the requests of many
//! threads.

mod batch;
mod config;
mod prediction;
mod predictor;
mod semaphore;
mod worker;

pub use batch::{Predictions, predict};
pub use config::{PredictConfig, PredictorConfig};
pub use prediction::Prediction;
pub use predictor::Predictor;
