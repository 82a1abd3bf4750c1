//! The iterator over the batches of an epoch.

use super::LoaderConfig;
use super::queue::Queue;
use super::retry::fetch_with_retries;
use crate::data::Batch;
use crate::error::DataError;
use crate::{Error, Result};
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread::{self, Builder, Scope};
use std::time::{Duration, Instant};

/// Time between two questions whether to stop, while the iterator waits.
const POLL: Duration = Duration::from_millis(50);

type Fetch<'scope> = dyn Fn(usize) -> Result<Batch> + Send + Sync + 'scope;

/// The batches of an epoch, in order; see [`Loader::batches_until`](super::Loader::batches_until).
pub(super) struct Batches<'scope, S> {
    source: Source<'scope>,
    remaining: usize,
    retries: usize,
    is_stopped: S,
}

enum Source<'scope> {
    /// The calling thread fetches batches; with the index of the next batch.
    Caller(Arc<Fetch<'scope>>, usize),
    /// Worker threads fetch batches.
    Workers(Arc<Queue>),
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        if let Source::Workers(queue) = self {
            queue.stop();
        }
    }
}

impl<'scope, S: Fn() -> bool> Batches<'scope, S> {
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        fetch: impl Fn(usize) -> Result<Batch> + Send + Sync + 'scope,
        batches: usize,
        config: &LoaderConfig,
        is_stopped: S,
    ) -> Result<Self> {
        let fetch: Arc<Fetch<'scope>> = Arc::new(fetch);
        let retries = config.retries;
        let iterator = |source| Batches { source, remaining: batches, retries, is_stopped };
        if config.workers == 0 {
            return Ok(iterator(Source::Caller(fetch, 0)));
        }
        let queue = Arc::new(Queue::new(batches, config.workers + config.prefetch_batches));
        // Created before the threads, so that dropping it stops them if one cannot be started.
        let iterator = iterator(Source::Workers(Arc::clone(&queue)));
        for worker in 0..config.workers.min(batches) {
            let (queue, fetch) = (Arc::clone(&queue), Arc::clone(&fetch));
            let work = move || {
                while let Some(number) = queue.claim() {
                    let pause = |duration| queue.pause(number, duration);
                    queue.put(number, fetch_with_retries(retries, || fetch(number), pause));
                }
            };
            let thread = Builder::new().name(format!("loader-{worker}"));
            thread
                .spawn_scoped(scope, work)
                .map_err(|source| Error::Data(DataError::WorkerStart { worker, source }))?;
        }
        Ok(iterator)
    }

    /// Waits for the next batch; `None` where the iterator is stopped, or ends.
    fn wait_for_next(&mut self) -> Option<Result<Batch>> {
        let is_stopped = &self.is_stopped;
        if is_stopped() {
            return None;
        }
        match &mut self.source {
            Source::Caller(fetch, next) => {
                *next += 1;
                let number = *next - 1;
                let result = fetch_with_retries(self.retries, || fetch(number), |duration| pause(duration, is_stopped));
                (result.is_ok() || !is_stopped()).then_some(result)
            }
            Source::Workers(queue) => {
                while !queue.wait(POLL) {
                    if is_stopped() {
                        return None;
                    }
                }
                queue.take()
            }
        }
    }
}

/// Waits on the iterating thread. Returns false as soon as the iterator is stopped.
fn pause(duration: Duration, is_stopped: impl Fn() -> bool) -> bool {
    let end = Instant::now() + duration;
    loop {
        if is_stopped() {
            return false;
        }
        match end.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => return true,
            Some(rest) => thread::sleep(rest.min(POLL)),
        }
    }
}

impl<S: Fn() -> bool> Iterator for Batches<'_, S> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.remaining == 0 {
            return None;
        }
        let result = self.wait_for_next();
        match &result {
            Some(Ok(_)) => self.remaining -= 1,
            Some(Err(_)) | None => self.remaining = 0,
        }
        result
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

impl<S: Fn() -> bool> FusedIterator for Batches<'_, S> {}
