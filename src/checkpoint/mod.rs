//! States of a run that outlive the process: one file each, whole or absent.
//!
//! A [`Checkpoint`] is plain data: tensors by name, and a JSON value. A [`Store`] keeps several in a folder that it holds alone.
//! [`Trainer`](crate::train::Trainer) decides what goes in.

mod disk;
mod format;
mod store;

pub use disk::{Disk, RealDisk};
pub use format::Checkpoint;
pub use store::{Found, Store};
