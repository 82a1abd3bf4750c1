//! The state that the workers and the iterator share.

use crate::Result;
use crate::data::Batch;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue that hands out batch indices to workers, takes batches in any order, and returns them in order.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of batches that may be claimed before the first of them is taken.
    window: usize,
}

struct State {
    claimed: usize,
    taken: usize,
    /// The number of batches to return: all, those up to the first that failed, or none after a stop.
    end: usize,
    ready: BTreeMap<usize, Result<Batch>>,
}

impl State {
    fn is_waiting(&self) -> bool {
        self.taken < self.end && !self.ready.contains_key(&self.taken)
    }
}

impl Queue {
    pub(super) fn new(batches: usize, window: usize) -> Self {
        let state = State { claimed: 0, taken: 0, end: batches, ready: BTreeMap::new() };
        Queue { state: Mutex::new(state), changed: Condvar::new(), window }
    }

    /// Waits for room, then returns the number of the next batch to fetch; `None` where nothing is left to do.
    pub(super) fn claim(&self) -> Option<usize> {
        let mut state = self.wait_while(|s| s.claimed < s.end && s.claimed - s.taken >= self.window);
        if state.claimed >= state.end {
            return None;
        }
        state.claimed += 1;
        Some(state.claimed - 1)
    }

    /// Waits before a batch is fetched again. Returns false, at once, where it is not needed any more.
    pub(super) fn pause(&self, number: usize, duration: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), duration, |state| number < state.end);
        waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Stores a fetched batch. An error ends the epoch at its batch: those before it are still fetched and returned.
    pub(super) fn put(&self, number: usize, result: Result<Batch>) {
        let mut state = self.lock();
        if result.is_err() {
            state.end = state.end.min(number + 1);
        }
        state.ready.insert(number, result);
        self.changed.notify_all();
    }

    /// Waits until [`take`](Self::take) does not have to wait. Returns false where that takes longer than `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, |state| state.is_waiting());
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits for the next batch in order, or for its error; after the last one, and after a stop, `None`.
    pub(super) fn take(&self) -> Option<Result<Batch>> {
        let mut state = self.wait_while(State::is_waiting);
        if state.taken >= state.end {
            return None;
        }
        let next = state.taken;
        let batch = state.ready.remove(&next);
        state.taken += 1;
        self.changed.notify_all();
        batch
    }

    /// Tells the workers to end as soon as each has finished the batch that it is fetching.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.end = 0;
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
