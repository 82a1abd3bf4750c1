//! Training: the loop, its configuration, and who watches it.

mod checkpoints;
mod config;
mod early_stop;
mod evaluate;
mod history;
mod loss;
mod observer;
mod progress;
mod run_data;
mod run_state;
mod save;
mod stop;
mod trainer;

pub use checkpoints::{CheckpointConfig, SaveEvery};
pub use config::{TrainConfig, TrainingNorms, Validation};
pub use early_stop::{EarlyStop, Watched};
pub use evaluate::Evaluation;
pub use history::{EpochRecord, History};
pub use loss::{CrossEntropy, Loss};
pub use observer::{Event, Flow, Observer, Outcome, Run};
pub use save::{SaveBest, SaveWeights};
pub use stop::StopHandle;
pub use trainer::Trainer;

pub(crate) use evaluate::Inference;
