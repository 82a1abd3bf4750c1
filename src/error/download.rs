//! What can come of asking a mirror for a file.

/// Why a mirror did not deliver.
///
/// The causes are part of the text: the attempts are a list, which no chain of sources can show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadProblem {
    /// An answer other than success.
    #[error("the server answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// No connection, no answer in time, or one that broke off.
    #[error("{0}")]
    Connection(Box<dyn std::error::Error + Send + Sync>),
    /// More bytes than the file can have.
    #[error("the server sends more than {limit_bytes} bytes, which is more than the file can have")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// What arrived is not the file.
    #[error("what arrived is not the file: {}", .0.with_causes())]
    Content(Box<super::Error>),
}
