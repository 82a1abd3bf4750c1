//! The iterator over the batches of an epoch.

use super::LoaderConfig;
use super::queue::Queue;
use crate::data::Batch;
use crate::error::DataError;
use crate::{Error, Result};
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread::{Builder, Scope};

type Fetch<'scope> = dyn Fn(usize) -> Result<Batch> + Send + Sync + 'scope;

/// The batches of an epoch, in order; see [`Loader::batches`](super::Loader::batches).
pub(super) struct Batches<'scope> {
    source: Source<'scope>,
    remaining: usize,
}

enum Source<'scope> {
    /// The calling thread fetches batches; with the index of the next batch.
    Caller(Arc<Fetch<'scope>>, usize),
    /// Worker threads fetch batches.
    Workers(Arc<Queue>),
}

impl<'scope> Batches<'scope> {
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        fetch: impl Fn(usize) -> Result<Batch> + Send + Sync + 'scope,
        batches: usize,
        config: &LoaderConfig,
    ) -> Result<Self> {
        let fetch: Arc<Fetch<'scope>> = Arc::new(fetch);
        if config.workers == 0 {
            return Ok(Batches { source: Source::Caller(fetch, 0), remaining: batches });
        }
        let queue = Arc::new(Queue::new(batches, config.workers + config.prefetch_batches));
        // Created before the threads, so that dropping it stops them if one cannot be started.
        let iterator = Batches { source: Source::Workers(Arc::clone(&queue)), remaining: batches };
        for worker in 0..config.workers.min(batches) {
            let (queue, fetch) = (Arc::clone(&queue), Arc::clone(&fetch));
            let work = move || {
                while let Some(number) = queue.claim() {
                    queue.put(number, fetch(number));
                }
            };
            let thread = Builder::new().name(format!("loader-{worker}"));
            thread
                .spawn_scoped(scope, work)
                .map_err(|source| Error::Data(DataError::WorkerStart { worker, source }))?;
        }
        Ok(iterator)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.remaining == 0 {
            return None;
        }
        let result = match &mut self.source {
            Source::Caller(fetch, next) => {
                *next += 1;
                Some(fetch(*next - 1))
            }
            Source::Workers(queue) => queue.take(),
        };
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

impl FusedIterator for Batches<'_> {}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        if let Source::Workers(queue) = &self.source {
            queue.stop();
        }
    }
}
