//! From a data set to batches: in which order, of which size, fetched by how many threads.

mod batches;
mod config;
mod epoch;
mod queue;

pub use batches::Batches;
pub use config::{LastBatch, Loader, LoaderConfig, Order};
pub use epoch::epoch_order;
