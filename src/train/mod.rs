//! Training: the loop, its configuration, its data sets and its callbacks.

mod begin;
mod callback;
mod callback_states;
mod checked;
mod checkpoint_config;
mod checkpoints;
mod config;
mod data_placement;
mod datasets;
mod early_stop;
mod evaluate;
mod history;
mod identity;
mod loss;
mod mixing;
mod monitor;
mod progress;
mod run_data;
mod run_loop;
mod run_state;
mod save;
mod step;
mod steps;
mod stop;
mod test_time;
mod trainer;
mod unread_steps;

pub use callback::{Callback, Event, Outcome, Run};
pub use checkpoint_config::{Change, CheckpointConfig, SaveEvery};
pub use config::TrainConfig;
pub use data_placement::DataPlacement;
pub use datasets::Datasets;
pub use early_stop::EarlyStop;
pub use evaluate::Evaluation;
pub use history::{EpochRecord, History};
pub use loss::{BatchLoss, Loss};
pub use mixing::Mixing;
pub use monitor::Monitor;
pub use save::SaveWeights;
pub use stop::StopHandle;
pub use test_time::{Average, TestTimeAugment};
pub use trainer::Trainer;

pub(crate) use evaluate::Inference;
