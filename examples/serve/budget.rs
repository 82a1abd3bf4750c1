//! Memory that all requests share.

use crate::failure::Failure;
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit on memory that is in use at the same time, in KiB. Requests get their shares in order.
#[derive(Clone)]
pub struct Budget {
    /// What the memory is for.
    purpose: &'static str,
    kib: u32,
    free: Arc<Semaphore>,
    /// Longest time that a request waits for its share.
    wait: Duration,
}

/// A share of a budget, which its drop returns. Work on another thread has to own it: the handler of a request ends
/// when the client leaves, but that work does not.
pub type Share = OwnedSemaphorePermit;

impl Budget {
    pub fn new(purpose: &'static str, mib: u32, wait: Duration) -> Self {
        let kib = mib.saturating_mul(1024);
        Budget { purpose, kib, free: Arc::new(Semaphore::new(kib as usize)), wait }
    }

    /// Waits for a share of this many bytes; status 503 where none is free in time.
    pub async fn share(&self, bytes: u64) -> Result<Share, Failure> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.kib);
        match tokio::time::timeout(self.wait, Arc::clone(&self.free).acquire_many_owned(kib)).await {
            Ok(Ok(share)) => Ok(share),
            _ => {
                let text = format!("the server is busy: its {} KiB for {} are in use", self.kib, self.purpose);
                Err(Failure(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }
}
