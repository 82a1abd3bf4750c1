//! What can be wrong with a checkpoint.

use std::fmt;

/// A field in which a run differs from the one that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field, such as "batch_size".
    pub field: String,
    /// Its value in the checkpoint, as JSON.
    pub saved: String,
    /// Its value now, as JSON.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} was {} and is {}", self.field, self.saved, self.now)
    }
}

/// Why a file is no checkpoint, or a state cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointProblem {
    /// It holds no digest where a checkpoint has one: it is cut off, or something else.
    #[error("it has no digest, so that it is cut off or no checkpoint")]
    NoDigest,
    /// Its bytes are not those that were written.
    #[error("it is damaged: its SHA-256 is {actual}, but should be {expected}")]
    Digest {
        /// What it says of itself.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// Another version of the crate wrote it.
    #[error("its format is {found}, and this version knows {known}")]
    Format {
        /// The format that it says.
        found: String,
        /// The one that can be read.
        known: u64,
    },
    /// A tensor, or the file, holds what cannot be read or written.
    #[error("{name}: {problem}")]
    Content {
        /// The tensor, or "the file".
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}
