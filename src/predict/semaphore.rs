//! A counting semaphore whose permits have weights.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Limits a sum over what exists at the same time. Callers get their permits in the order in which they ask, so that
/// small requests do not overtake a large one for ever.
#[derive(Debug)]
pub(super) struct Semaphore {
    total: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    available: usize,
    /// Number of the next caller who waits.
    next_ticket: u64,
    /// Number of the caller whose turn it is.
    turn: u64,
}

/// Permits that were acquired, which their drop returns.
#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Semaphore {
    pub fn new(total: usize) -> Arc<Self> {
        let state = Mutex::new(State { available: total, next_ticket: 0, turn: 0 });
        Arc::new(Semaphore { total, state, changed: Condvar::new() })
    }

    /// Waits for `count` permits. More than there are altogether means all of them.
    pub fn acquire(self: &Arc<Self>, count: usize) -> Permits {
        let count = count.min(self.total);
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        while state.turn != ticket || state.available < count {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        self.take(state, count)
    }

    /// Takes `count` permits, or returns `None` where they are not available or others wait.
    pub fn try_acquire(self: &Arc<Self>, count: usize) -> Option<Permits> {
        let count = count.min(self.total);
        let mut state = self.lock();
        if state.turn != state.next_ticket || state.available < count {
            return None;
        }
        (state.next_ticket, state.turn) = (state.next_ticket + 1, state.turn + 1);
        Some(self.take(state, count))
    }

    fn take(self: &Arc<Self>, mut state: MutexGuard<State>, count: usize) -> Permits {
        state.available -= count;
        drop(state);
        self.changed.notify_all();
        Permits { semaphore: Arc::clone(self), count }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        self.semaphore.lock().available += self.count;
        self.semaphore.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn the_sum_of_permits_stays_within_the_total() {
        let semaphore = Semaphore::new(10);
        let six = semaphore.try_acquire(6).unwrap();
        assert!(semaphore.try_acquire(5).is_none());
        let four = semaphore.try_acquire(4).unwrap();
        drop(six);
        assert!(semaphore.try_acquire(usize::MAX).is_none(), "all of them are not available");
        drop(four);
        assert_eq!(semaphore.try_acquire(usize::MAX).unwrap().count, 10);
    }

    #[test]
    fn small_requests_do_not_overtake_a_large_one_that_waits() {
        let semaphore = Semaphore::new(10);
        let (first, second) = (semaphore.acquire(5), semaphore.acquire(5));
        let (sender, acquired) = channel();
        let large = thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || {
                let permits = semaphore.acquire(10);
                sender.send(()).unwrap();
                permits
            }
        });
        while semaphore.lock().next_ticket < 3 {
            thread::yield_now();
        }
        drop(first);
        assert!(semaphore.try_acquire(1).is_none(), "five are available, and the large request has its turn before");
        assert!(acquired.recv_timeout(Duration::from_millis(20)).is_err(), "it waits for all ten");
        drop(second);
        drop(large.join().unwrap());
        assert!(semaphore.try_acquire(10).is_some());
    }
}
