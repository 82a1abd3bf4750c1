//! Training: the loop, its configuration, and who watches it.

mod callback;
mod checkpoints;
mod config;
mod early_stop;
mod evaluate;
mod history;
mod loss;
mod progress;
mod run_data;
mod run_state;
mod save;
mod stop;
mod trainer;

pub use callback::{Callback, Event, Flow, Outcome, Run};
pub use checkpoints::{CheckpointConfig, SaveEvery};
pub use config::{TrainConfig, TrainingNorms, Validation};
pub use early_stop::{EarlyStop, Watched};
pub use evaluate::Evaluation;
pub use history::{EpochRecord, History};
pub use loss::{CrossEntropy, Loss};
pub use save::{SaveBest, SaveWeights};
pub use stop::StopHandle;
pub use trainer::Trainer;

pub(crate) use evaluate::Inference;
