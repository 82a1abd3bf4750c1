//! Tests that a loader stops while it waits: for a batch that never comes, and before a fetch is repeated.

use super::*;
use crate::data::{InMemoryDataset, SampleKey, SyntheticConfig};
use crate::error::BatchProblem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a stop takes on a busy machine, and shorter than whatever it must not wait for.
const SOON: Duration = Duration::from_secs(2);

/// Ten samples; a function is called with the index of the first sample of each batch before the batch is fetched.
struct Observed<F>(InMemoryDataset, F);

impl<F: Fn(usize) -> Result<()> + Send + Sync> Observed<F> {
    fn new(before: F) -> Self {
        Observed(SyntheticConfig::new(10).with_sample_shape([1, 1, 1]).build().unwrap(), before)
    }
}

impl<F: Fn(usize) -> Result<()> + Send + Sync> Dataset for Observed<F> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn sample_shape(&self) -> &[usize] {
        self.0.sample_shape()
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        (self.1)(keys[0].index)?;
        self.0.fetch(keys)
    }
}

/// Sets the flag a little later.
fn set_later(flag: &AtomicBool) {
    thread::sleep(Duration::from_millis(100));
    flag.store(true, SeqCst);
}

#[test]
fn stop_ends_the_iterator_while_a_fetch_does_not_return() {
    for workers in [1, 4] {
        let (stopped, released) = (AtomicBool::new(false), AtomicBool::new(false));
        let dataset = Observed::new(|index| {
            let begin = Instant::now();
            while index == 4 && !released.load(SeqCst) && begin.elapsed() < 5 * SOON {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let loader = LoaderConfig::new(2).with_workers(workers).build().unwrap();
        thread::scope(|scope| {
            let mut batches = loader.batches_until(scope, &dataset, 0, 0, || stopped.load(SeqCst)).unwrap();
            assert_eq!(batches.by_ref().take(2).filter(Result::is_ok).count(), 2, "the batches before it");
            scope.spawn(|| set_later(&stopped));
            let begin = Instant::now();
            assert!(batches.next().is_none() && batches.next().is_none());
            assert!(stopped.load(SeqCst) && begin.elapsed() < SOON, "{:?}", begin.elapsed());
            // Before that the scope does not end.
            released.store(true, SeqCst);
        });
    }
}

#[test]
fn stop_is_noticed_before_each_batch() {
    for workers in [0, 1, 4] {
        let (stopped, fetched) = (AtomicBool::new(false), AtomicUsize::new(0));
        let dataset = Observed::new(|_| {
            fetched.fetch_add(1, SeqCst);
            Ok(())
        });
        let loader = LoaderConfig::new(2).with_workers(workers).build().unwrap();
        thread::scope(|scope| {
            let mut batches = loader.batches_until(scope, &dataset, 0, 0, || stopped.load(SeqCst)).unwrap();
            assert!(batches.next().unwrap().is_ok());
            stopped.store(true, SeqCst);
            assert!(batches.next().is_none());
            stopped.store(false, SeqCst);
            assert!(batches.next().is_none(), "the end is the end");
        });
        assert!(workers > 0 || fetched.load(SeqCst) == 1);
    }
}

#[test]
fn stop_does_not_wait_for_the_repetition_of_a_fetch() {
    for workers in [0, 1, 4] {
        let stopped = AtomicBool::new(false);
        let dataset = Observed::new(|index| if index == 2 { Err(Error::other("the server is busy")) } else { Ok(()) });
        // The pauses grow to five seconds.
        let loader = LoaderConfig::new(2).with_workers(workers).with_retries(100).build().unwrap();
        let begin = Instant::now();
        thread::scope(|scope| {
            let mut batches = loader.batches_until(scope, &dataset, 0, 0, || stopped.load(SeqCst)).unwrap();
            assert!(batches.next().unwrap().is_ok());
            scope.spawn(|| {
                // Within the pause of 1.6 s that follows those of 0.1 to 0.8 s.
                thread::sleep(Duration::from_millis(1600));
                stopped.store(true, SeqCst);
            });
            assert!(batches.next().is_none());
        });
        assert!(begin.elapsed() < Duration::from_millis(2800), "{workers} workers: {:?}", begin.elapsed());
    }
}

#[test]
fn only_errors_of_the_data_set_are_repeated() {
    for workers in [0, 1, 4] {
        let attempts = AtomicUsize::new(0);
        let count = |index, attempt: fn() -> Result<()>| {
            attempts.fetch_add(usize::from(index == 0), SeqCst);
            if index == 0 { attempt() } else { Ok(()) }
        };
        let error_of = |attempt: fn() -> Result<()>| {
            attempts.store(0, SeqCst);
            let dataset = Observed::new(|index| count(index, attempt));
            let loader = LoaderConfig::new(5).with_workers(workers).with_retries(2).build().unwrap();
            let error = thread::scope(|scope| loader.batches(scope, &dataset, 0).unwrap().find_map(Result::err));
            (error.expect("an error"), attempts.load(SeqCst))
        };
        let (error, attempts) = error_of(|| Err(Error::other("the server is busy")));
        assert_eq!((error.to_string().as_str(), attempts), ("the server is busy", 3));
        let (error, attempts) = error_of(|| panic!("a bug"));
        assert!(matches!(error, Error::Data(DataError::DatasetPanicked { .. })) && attempts == 1, "{error:?}");
        let (error, attempts) = error_of(|| {
            let problem = BatchProblem::MixedTargets;
            Err(Error::Data(DataError::WrongBatch { indices: vec![0], epoch: 0, problem }))
        });
        assert!(matches!(error, Error::Data(DataError::WrongBatch { .. })) && attempts == 1, "{error:?}");
    }
}
