//! The ways in which a download from a mirror can fail.

/// Why a download from a mirror failed.
///
/// The message includes the causes, because a list of attempts does not fit a chain of sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadProblem {
    /// The server responded with a status other than success.
    #[error("the server responded with status {status}")]
    Status {
        /// The HTTP status code.
        status: u16,
    },
    /// The connection failed, timed out or broke off.
    #[error("{0}")]
    Connection(Box<dyn std::error::Error + Send + Sync>),
    /// The server sends more bytes than the file can have.
    #[error("the server sends more than {limit_bytes} bytes, which is more than the file can have")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The received content is not that of the file.
    #[error("what arrived is not the file: {}", .0.with_causes())]
    Content(Box<super::Error>),
}
