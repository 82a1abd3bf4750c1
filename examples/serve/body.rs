//! Receives the body of a request within limits of size, time and memory.

use crate::args::Args;
use crate::budget::{Budget, Share};
use crate::failure::Failure;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A body in memory, with its share of the memory for bodies.
pub struct Received {
    pub bytes: Vec<u8>,
    _share: Share,
}

/// What receiving a body takes at least, however small it is: buffers of the connection, and a place in line.
const LEAST: u64 = 64 << 10;

/// Receives a body. One that is refused is read to its end all the same: a client that still sends would get a broken
/// connection instead of the response.
pub async fn receive(mut body: Body, headers: &HeaderMap, budget: &Budget, args: &Args) -> Result<Received, Failure> {
    let received = receive_within(&mut body, budget, args).await;
    if let Err(Failure(status, _)) = &received
        && *status != StatusCode::REQUEST_TIMEOUT
        // Such a client sends nothing before it is told to continue, which reading would do.
        && !headers.contains_key(header::EXPECT)
    {
        drain(body, args.body_time()).await;
    }
    received
}

async fn receive_within(body: &mut Body, budget: &Budget, args: &Args) -> Result<Received, Failure> {
    let too_large = || {
        let text = format!("the body is too large: at most {} bytes are accepted", args.max_bytes);
        Failure(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let most = args.max_bytes as u64;
    if body.size_hint().lower() > most {
        return Err(too_large());
    }
    // A chunked body may become as large as the limit.
    let size = body.size_hint().upper().unwrap_or(most);
    let share = budget.share(size.max(LEAST)).await?;
    let mut bytes = Vec::with_capacity(size as usize);
    let deadline = Instant::now() + args.body_time();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let text = format!("the body did not arrive within {} s", args.body_seconds);
            Failure(StatusCode::REQUEST_TIMEOUT, text)
        })?;
        let Some(frame) = frame else { return Ok(Received { bytes, _share: share }) };
        let frame = frame.map_err(|error| Failure(StatusCode::BAD_REQUEST, format!("the body is invalid: {error}")))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > args.max_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

/// Reads a body to its end and keeps nothing of it, for at most this time.
async fn drain(mut body: Body, time: Duration) {
    let deadline = Instant::now() + time;
    while let Ok(Some(Ok(_))) = timeout_at(deadline, body.frame()).await {}
}
