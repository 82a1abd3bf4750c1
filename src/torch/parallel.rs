//! Parallel loops on libtorch's own threads.

use super::ffi;
use std::any::Any;
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

/// Calls `body` with ranges that together cover `0..length` once, on the threads that libtorch computes with.
///
/// A second pool of threads beside libtorch's would make both slow, since its threads spin while they wait. There are
/// at most [`threads`] ranges, one per thread, and at least `grain` indices per range on average. Within another call
/// everything runs on the calling thread. `body` may not call operations on tensors: they would run without the
/// settings of the calling thread, such as [`no_grad`](tch::no_grad).
///
/// # Panics
///
/// With the first panic of `body`, after all ranges are done.
pub fn parallel_for(length: usize, grain: usize, body: impl Fn(Range<usize>) + Sync) {
    let call = Call { body: &body, panic: Mutex::new(None) };
    let data = &raw const call as *mut c_void;
    let (length, grain) = (length as i64, grain.max(1) as i64);
    // SAFETY: the entry calls `run` with `data`, which outlives the call, and with nothing else.
    let done =
        ffi::call("parallel_for", |error| unsafe { ffi::densenet_parallel_for(length, grain, run, data, error) });
    if let Some(panic) = call.panic.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        resume_unwind(panic);
    }
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// The number of threads that libtorch computes with on a CPU. Within [`parallel_for`] it may be 1.
pub fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

struct Call<'a> {
    body: &'a (dyn Fn(Range<usize>) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

extern "C" fn run(data: *mut c_void, begin: i64, end: i64) {
    // SAFETY: `data` is the `Call` of `parallel_for`, which waits for this.
    let call = unsafe { &*data.cast::<Call>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (call.body)(begin as usize..end as usize))) {
        call.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    fn visits(length: usize, grain: usize) -> Vec<usize> {
        let visits: Vec<AtomicUsize> = (0..length).map(|_| AtomicUsize::new(0)).collect();
        parallel_for(length, grain, |range| {
            assert!(!range.is_empty());
            for index in range {
                visits[index].fetch_add(1, SeqCst);
            }
        });
        visits.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_index_is_visited_once() {
        for length in [0, 1, 2, 7, 1000] {
            for grain in [0, 1, 3, 10_000] {
                assert_eq!(visits(length, grain), vec![1; length], "{length} by {grain}");
            }
        }
    }

    /// The threads that ran a range.
    fn used(length: usize, grain: usize) -> Vec<ThreadId> {
        let used = Mutex::new(Vec::new());
        parallel_for(length, grain, |_| {
            // So long that the other threads have begun.
            thread::sleep(Duration::from_millis(5));
            used.lock().unwrap().push(thread::current().id());
        });
        used.into_inner().unwrap()
    }

    #[test]
    fn all_threads_of_libtorch_take_part() {
        let mut ids = used(10 * threads(), 1);
        assert_eq!(ids.len(), threads());
        assert!(ids.contains(&thread::current().id()));
        ids.sort_by_key(|id| format!("{id:?}"));
        ids.dedup();
        assert_eq!(ids.len(), threads(), "one range a thread");
        assert_eq!(used(10, 10), [thread::current().id()], "no more than a grain");
    }

    #[test]
    fn a_call_within_a_call_runs_on_its_thread() {
        let inner = AtomicUsize::new(0);
        parallel_for(8, 1, |range| {
            for _ in range {
                parallel_for(100, 1, |range| {
                    inner.fetch_add(range.len(), SeqCst);
                });
                assert_eq!(used(10, 1), [thread::current().id()]);
            }
        });
        assert_eq!(inner.into_inner(), 800);
    }

    #[test]
    fn a_panic_arrives_at_the_caller_after_all_have_ended() {
        let (threads, ended) = (threads(), AtomicUsize::new(0));
        let panic = catch_unwind(AssertUnwindSafe(|| {
            parallel_for(threads, 1, |range| {
                // The last range is another thread's where there are several.
                if range.contains(&(threads - 1)) {
                    panic!("lost at sea, {}", range.end);
                }
                thread::sleep(Duration::from_millis(5));
                ended.fetch_add(1, SeqCst);
            });
        }));
        let text = panic.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*text, format!("lost at sea, {}", threads));
        assert_eq!(ended.into_inner(), threads - 1);
        assert_eq!(visits(100, 1), [1; 100], "and it works again");
    }
}
