//! The state that the workers and the iterator share.

use crate::data::Batch;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue that hands out batch indices to workers, takes batches in any order, and returns them in order.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of batches.
    batches: usize,
    /// The number of batches that may be claimed before the first of them is taken.
    window: usize,
}

#[derive(Default)]
struct State {
    claimed: usize,
    taken: usize,
    ready: BTreeMap<usize, Batch>,
    /// The failure of the batch with the smallest number so far.
    failure: Option<(usize, Error)>,
    stopped: bool,
}

impl Queue {
    pub(super) fn new(batches: usize, window: usize) -> Self {
        Queue { state: Mutex::default(), changed: Condvar::new(), batches, window }
    }

    /// Waits for room, then returns the number of the next batch to fetch; `None` where nothing is left to do.
    pub(super) fn claim(&self) -> Option<usize> {
        let mut state =
            self.wait_while(|s| !s.stopped && s.claimed < self.batches && s.claimed - s.taken >= self.window);
        if state.stopped || state.claimed == self.batches {
            return None;
        }
        state.claimed += 1;
        Some(state.claimed - 1)
    }

    /// Stores a fetched batch; an error stops all workers.
    pub(super) fn put(&self, number: usize, result: Result<Batch>) {
        let mut state = self.lock();
        match result {
            Ok(batch) => {
                state.ready.insert(number, batch);
            }
            Err(error) => {
                if state.failure.as_ref().is_none_or(|(first, _)| number < *first) {
                    state.failure = Some((number, error));
                }
                state.stopped = true;
            }
        }
        self.changed.notify_all();
    }

    /// Waits for the next batch in order, or returns the failure of any batch at once; after that, and after the last
    /// batch, `None`.
    pub(super) fn take(&self) -> Option<Result<Batch>> {
        let mut state = self.wait_while(|s| !s.stopped && s.taken < self.batches && !s.ready.contains_key(&s.taken));
        if let Some((_, error)) = state.failure.take() {
            return Some(Err(error));
        }
        if state.stopped || state.taken == self.batches {
            return None;
        }
        let next = state.taken;
        let batch = state.ready.remove(&next);
        state.taken += 1;
        self.changed.notify_all();
        batch.map(Ok)
    }

    /// Tells the workers to end as soon as each has finished the batch that it is fetching.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.ready.clear();
        self.changed.notify_all();
    }

    // No code that can panic runs under the lock, so a poisoned one is still sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }
}
