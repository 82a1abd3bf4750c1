//! Connections: how many there are, how long they may wait for their clients, and which is closed for another.

use crate::args::Args;
use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

/// Files that the process opens beside its connections.
const OTHER_FILES: u64 = 32;

/// Returns the number of connections that the arguments and the limit on open files allow.
pub fn most(args: &Args) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES) as usize);
    args.connections.min(files).max(2)
}

/// The connections that wait for their clients, in the order in which they began to.
#[derive(Default)]
struct Line(Mutex<(u64, BTreeMap<u64, Arc<Notify>>)>);

impl Line {
    /// Closes the connection that has waited longest.
    fn close_first(&self) {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).1.pop_first();
        if let Some((_, close)) = first {
            close.notify_one();
        }
    }
}

/// A connection's place in the line of those that wait for their clients: for a request, or for the rest of one.
pub struct Waiting {
    line: Arc<Line>,
    place: Mutex<Option<u64>>,
    close: Arc<Notify>,
}

impl Waiting {
    fn new(line: &Arc<Line>) -> Arc<Self> {
        let waiting = Waiting { line: Arc::clone(line), place: Mutex::default(), close: Arc::default() };
        waiting.begin();
        Arc::new(waiting)
    }

    /// Notes that the connection waits from now on.
    fn begin(&self) {
        self.end();
        let mut line = self.line.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.0 += 1;
        let place = line.0;
        line.1.insert(place, Arc::clone(&self.close));
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// Notes that the request has arrived, so that the client waits now.
    pub fn end(&self) {
        if let Some(place) = self.place.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.line.0.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&place);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

/// Accepts connections until the sender is gone, and then waits for those that are open.
pub async fn serve(listener: TcpListener, router: Router, args: &Args, most: usize, mut ended: watch::Receiver<()>) {
    let slots = Arc::new(Semaphore::new(most));
    let line = Arc::new(Line::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let slot = slot(&slots, &line).await;
                let waiting = Waiting::new(&line);
                tokio::spawn(connection(stream, router.clone(), args.head_time(), waiting, ended.clone(), slot));
            }
            Err(error) => after_failed_accept(&error).await,
        }
    }
    drop(listener);
    let _ = slots.acquire_many(most as u32).await;
}

/// Takes the place of a connection, if need be that of one that waits for its client.
async fn slot(slots: &Arc<Semaphore>, line: &Line) -> OwnedSemaphorePermit {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return slot;
    }
    line.close_first();
    Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed")
}

/// A client that is gone again concerns nobody else. Other errors, such as too many open files, may last: trying again
/// at once would only keep a processor busy.
async fn after_failed_accept(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        eprintln!("cannot accept a connection: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Serves the requests of a connection, which holds its slot until it ends.
async fn connection(
    stream: TcpStream,
    router: Router,
    head_time: Duration,
    waiting: Arc<Waiting>,
    mut ended: watch::Receiver<()>,
    _slot: OwnedSemaphorePermit,
) {
    let close = Arc::clone(&waiting.close);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let waiting = Arc::clone(&waiting);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&waiting));
        let response = router.call(request);
        async move {
            let response = response.await;
            waiting.begin();
            response
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_time).max_buf_size(BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ending = false;
    loop {
        tokio::select! {
            // A client may leave or break the protocol, which concerns nobody else.
            _ = connection.as_mut() => break,
            _ = close.notified() => break,
            _ = ended.changed(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Buffer of a connection in bytes, which limits the head of a request too.
const BUFFER: usize = 16 << 10;
