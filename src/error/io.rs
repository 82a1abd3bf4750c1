//! A file operation that failed.

use std::path::PathBuf;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Failed {
        /// What was attempted, as a verb: "read", "create", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A disk, or what of it the user may have, is full.
    #[error("cannot write {}: it takes {needed} bytes, and {free} are free", path.display())]
    DiskFull {
        /// The file, of which nothing stays.
        path: PathBuf,
        /// Its size in bytes.
        needed: u64,
        /// Bytes that are free in its folder without it.
        free: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system does not let the program handle SIGINT and SIGTERM.
    #[error("cannot handle SIGINT and SIGTERM")]
    Signals {
        /// What the operating system said.
        source: std::io::Error,
    },
}
