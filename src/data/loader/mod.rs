//! Makes batches of a data set: in which order, of which size, fetched by how many threads.

mod batches;
mod config;
mod epoch;
mod queue;

pub use config::{Loader, LoaderConfig};
