//! Checkpoints: saved states of a run, one file each, which is complete or absent.
//!
//! A [`Checkpoint`] is plain data: tensors by name, and a JSON value. A [`Store`] holds several in a folder that
//! belongs to it alone. The [`Trainer`](crate::train::Trainer) determines what they contain.

#[cfg(test)]
mod fault_tests;
mod format;
mod problem;
mod store;
#[cfg(test)]
mod tests;

pub use format::Checkpoint;
pub use store::{LoadedCheckpoint, Store};
