//! The loader: batches of a data set, fetched by worker threads.

mod batches;
mod config;
mod epoch;
mod queue;

pub use config::{Loader, LoaderConfig};
