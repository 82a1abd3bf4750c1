//! Errors of file operations.

use std::path::PathBuf;

/// Errors of file operations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Failed {
        /// The operation as a verb, such as "read", "create" or "rename".
        action: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The disk or the user's quota is full.
    #[error("cannot write {}: it takes {needed} bytes, and {free} are free", path.display())]
    DiskFull {
        /// Path of the file, of which no part remains.
        path: PathBuf,
        /// Size of the file in bytes.
        needed: u64,
        /// Free space in its folder in bytes, without the file.
        free: u64,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The operating system does not let the program handle SIGINT and SIGTERM.
    #[error("cannot handle SIGINT and SIGTERM")]
    Signals {
        /// The operating system's error.
        source: std::io::Error,
    },
}
