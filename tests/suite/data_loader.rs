//! The loader: what it yields, what it never does, and how it fails.

use crate::datasets::{Changed, Indices};
use densenet::Error;
use densenet::data::{
    Batch, Dataset, InMemoryDataset, Loader, LoaderConfig, Phase, SampleKey, SyntheticConfig, Targets, Values,
};
use densenet::error::BatchProblem;
use densenet::error::{ConfigError, DataError};
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::predict::{PredictConfig, predict};
use densenet::tch::{Device, Tensor, nn};
use densenet::train::Datasets;
use densenet::{SgdConfig, TrainConfig, Trainer};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// `len` samples whose value is their index, changed by a function before they are returned.
fn indices(
    len: usize,
    change: impl Fn(&[SampleKey], &mut Batch) -> densenet::Result<()> + Send + Sync,
) -> impl Dataset {
    Changed::new(Indices(len), change)
}

fn loader(batch_size: usize, workers: usize) -> Loader {
    LoaderConfig::new(batch_size).with_workers(workers).with_seed(11).build().unwrap()
}

fn shuffled(batch_size: usize, workers: usize) -> Loader {
    loader(batch_size, workers).config().clone().with_shuffle().build().unwrap()
}

/// The indices in each batch of an epoch.
fn epoch(loader: &Loader, dataset: &impl Dataset, epoch: u64) -> Vec<Vec<usize>> {
    epoch_from(loader, dataset, epoch, 0)
}

fn epoch_from(loader: &Loader, dataset: &impl Dataset, epoch: u64, position: usize) -> Vec<Vec<usize>> {
    thread::scope(|scope| {
        let batches = loader.batches_from(scope, dataset, epoch, position).unwrap();
        batches.map(|batch| values(&batch.unwrap())).collect()
    })
}

/// The shuffled order of an epoch, sample by sample and without workers.
fn epoch_order(len: usize, seed: u64, number: u64) -> Vec<usize> {
    let one_by_one = LoaderConfig::new(1).with_workers(0).with_shuffle().with_seed(seed);
    epoch(&one_by_one.build().unwrap(), &indices(len, |_, _| Ok(())), number).concat()
}

fn values(batch: &Batch) -> Vec<usize> {
    let Values::F32(values) = &batch.values else { panic!("not an index") };
    values.iter().map(|&value| value as usize).collect()
}

#[test]
fn every_epoch_has_every_sample_once() {
    let dataset = indices(103, |_, _| Ok(()));
    for number in 0..3 {
        assert_eq!(epoch(&loader(10, 2), &dataset, number).concat(), (0..103).collect::<Vec<_>>());
        let mut samples = epoch(&shuffled(10, 2), &dataset, number).concat();
        assert_eq!(samples, epoch_order(103, 11, number));
        samples.sort_unstable();
        assert_eq!(samples, (0..103).collect::<Vec<_>>());
    }
}

#[test]
fn order_is_a_function_of_seed_and_epoch_that_never_changes() {
    assert_eq!(epoch_order(10, 0, 0), [1, 4, 5, 0, 7, 6, 9, 8, 2, 3]);
    assert_eq!(epoch_order(10, 0, 1), [9, 4, 3, 0, 6, 8, 1, 7, 2, 5]);
    assert_eq!(epoch_order(10, 1, 0), [7, 2, 6, 8, 0, 1, 5, 9, 3, 4]);
    let orders: HashSet<_> = (0..100).flat_map(|s| (0..100).map(move |e| epoch_order(20, s, e))).collect();
    assert_eq!(orders.len(), 10_000);
}

#[test]
fn every_sample_comes_first_equally_often() {
    let mut counts = [0_usize; 8];
    (0..8_000).for_each(|number| counts[epoch_order(8, 3, number)[0]] += 1);
    // Six standard deviations: √(8,000 · 1/8 · 7/8) = 30.
    assert!(counts.iter().all(|count| count.abs_diff(1_000) < 180), "{counts:?}");
}

#[test]
fn batches_do_not_depend_on_workers_or_prefetching() {
    // Later batches are faster, so that workers overtake each other.
    let dataset = indices(60, |keys, _| {
        thread::sleep(Duration::from_micros(100 * (60 - keys[0].index) as u64));
        Ok(())
    });
    let expected = epoch(&shuffled(7, 0), &dataset, 5);
    for (workers, prefetch) in [(1, 0), (1, 3), (2, 0), (5, 1), (40, 40)] {
        let loader = shuffled(7, workers).config().clone().with_prefetch_batches(prefetch).build().unwrap();
        assert_eq!(epoch(&loader, &dataset, 5), expected, "{workers} workers, {prefetch} ahead");
    }
}

#[test]
fn keys_carry_epoch_seed_and_phase() {
    for phase in [Phase::Train, Phase::Evaluation] {
        let dataset = indices(4, |keys, _| {
            assert!(keys.iter().all(|key| key.epoch == 6 && key.seed == 11 && key.phase == phase));
            Ok(())
        });
        let loader = loader(2, 1).config().clone().with_phase(phase).build().unwrap();
        assert_eq!(epoch(&loader, &dataset, 6), [[0, 1], [2, 3]]);
    }
    assert_eq!(loader(2, 1).config().phase, Phase::Train);
}

/// Turns every pixel that is fetched for training into 255: an augmentation that is easy to see.
fn augment(keys: &[SampleKey], batch: &mut Batch) -> densenet::Result<()> {
    if let Values::U8(pixels) = &mut batch.values {
        let width = pixels.len() / keys.len();
        let train = pixels.chunks_mut(width).zip(keys).filter(|(_, key)| key.phase == Phase::Train);
        train.for_each(|(sample, _)| sample.fill(255));
    }
    Ok(())
}

/// A linear model that notes the largest pixel of each batch, with whether it was in training.
struct Notes {
    layer: nn::Linear,
    largest: Arc<Mutex<Vec<(bool, f64)>>>,
}

impl Model for Notes {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> densenet::Result<Tensor> {
        self.largest.lock().unwrap().push((ctx.mode == Mode::Train, x.max().double_value(&[])));
        Ok(x.flatten(1, -1).apply(&self.layer))
    }
}

#[test]
fn a_data_set_that_augments_in_training_only_is_not_augmented_in_evaluation_or_prediction() {
    let samples = Batch::new([1, 1, 2], vec![51; 16], Targets::Classes(vec![0, 1, 0, 1, 0, 1, 0, 1]));
    let dataset = Changed::new(InMemoryDataset::new(samples, &["a", "b"]).unwrap(), augment);
    let vs = nn::VarStore::new(Device::Cpu);
    let largest = Arc::<Mutex<Vec<_>>>::default();
    let model = Notes { layer: nn::linear(vs.root(), 2, 2, Default::default()), largest: Arc::clone(&largest) };
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(4)).unwrap();
    trainer.fit(&Datasets::new(&dataset).with_validation(&dataset)).unwrap();
    let config = PredictConfig::default().with_device(Device::Cpu).with_batch_size(4);
    predict(trainer.model(), &dataset, &config).unwrap();
    let noted = largest.lock().unwrap();
    // One batch of the check before the run; two batches each of the epoch, of its evaluation, of the prediction.
    assert_eq!(noted.iter().map(|note| note.0).collect::<Vec<_>>(), [false, true, true, false, false, false, false]);
    for (in_training, largest) in noted.iter() {
        let expected = if *in_training { 1.0 } else { 0.2 };
        assert!((largest - expected).abs() < 1e-6, "{largest} in training {in_training}");
    }
}

#[test]
fn batch_counts_and_sizes_are_those_of_the_epoch() {
    for drop_last in [false, true] {
        let config = LoaderConfig::new(4).with_workers(0);
        let loader = if drop_last { config.with_drop_last() } else { config }.build().unwrap();
        for len in 4..13 {
            let mut sizes: Vec<_> = epoch(&loader, &indices(len, |_, _| Ok(())), 0).iter().map(Vec::len).collect();
            assert_eq!(loader.batch_count(len), sizes.len());
            sizes.dedup();
            assert_eq!(loader.batch_sizes(len), sizes, "{drop_last} {len}");
        }
        assert_eq!(loader.batch_sizes(3), if drop_last { vec![] } else { vec![3] });
        assert!(loader.batch_sizes(0).is_empty());
    }
}

#[test]
fn epoch_resumes_at_any_position() {
    let dataset = indices(50, |_, _| Ok(()));
    let complete = epoch(&shuffled(8, 2), &dataset, 1);
    assert_eq!(epoch_from(&shuffled(8, 2), &dataset, 1, 24), complete[3..]);
    assert_eq!(epoch_from(&shuffled(8, 0), &dataset, 1, 21).concat(), complete.concat()[21..]);
    assert!(epoch_from(&shuffled(8, 2), &dataset, 1, 50).is_empty());
    thread::scope(|scope| {
        let loader = shuffled(8, 2);
        assert!(matches!(
            loader.batches_from(scope, &dataset, 1, 51),
            Err(Error::Config(ConfigError::InvalidValue { .. }))
        ));
        let mut batches = loader.batches_from(scope, &dataset, 1, 40).unwrap();
        assert_eq!(batches.by_ref().map(|batch| batch.unwrap().len()).collect::<Vec<_>>(), [8, 2]);
        assert!(batches.next().is_none());
    });
}

#[test]
fn configurations_outside_the_limits_are_errors() {
    let config = LoaderConfig::new(64);
    for bad in [
        LoaderConfig::new(0),
        LoaderConfig::new(65_537),
        config.clone().with_workers(257),
        config.clone().with_prefetch_batches(65_537),
    ] {
        assert!(matches!(bad.clone().build(), Err(Error::Config(ConfigError::InvalidValue { .. }))), "{bad:?}");
    }
    assert!(LoaderConfig::new(65_536).with_workers(256).with_prefetch_batches(0).build().is_ok());
    let error = LoaderConfig::new(0).build().unwrap_err().to_string();
    assert!(error.contains("batch size is 0"), "{error}");
}

#[test]
fn data_set_that_gives_no_batch_is_an_error() {
    let (empty, small) = (indices(0, |_, _| Ok(())), indices(3, |_, _| Ok(())));
    thread::scope(|scope| {
        assert!(matches!(loader(4, 1).batches(scope, &empty, 0), Err(Error::Data(DataError::EmptyDataset))));
        let drop = LoaderConfig::new(4).with_drop_last().build().unwrap();
        assert!(matches!(
            drop.batches(scope, &small, 0),
            Err(Error::Config(ConfigError::InvalidValue { field: "batch size", .. }))
        ));
    });
}

fn unavailable(index: usize) -> Error {
    Error::Data(DataError::SampleUnavailable { index, source: "the disk is gone".into() })
}

#[test]
fn an_error_arrives_after_the_batches_before_it_and_ends_the_iterator() {
    // The batches before the error are slower than it, so that it is known before they are fetched.
    let failed = AtomicUsize::new(0);
    let dataset = indices(100, |keys, _| {
        let begin = Instant::now();
        while (10..40).contains(&keys[0].index) && failed.load(SeqCst) == 0 && begin.elapsed().as_millis() < 100 {
            thread::sleep(Duration::from_millis(1));
        }
        if keys[0].index < 40 {
            return Ok(());
        }
        failed.store(1, SeqCst);
        Err(unavailable(keys[0].index))
    });
    for workers in [0, 1, 4] {
        failed.store(0, SeqCst);
        thread::scope(|scope| {
            let mut batches = loader(10, workers).batches(scope, &dataset, 0).unwrap();
            let before: Vec<_> = batches.by_ref().take(4).map(|batch| values(&batch.unwrap())[0]).collect();
            assert_eq!(before, [0, 10, 20, 30], "{workers} workers");
            let error = batches.next();
            assert!(
                matches!(error, Some(Err(Error::Data(DataError::SampleUnavailable { index: 40, .. })))),
                "{workers} workers: {error:?}"
            );
            assert!(batches.next().is_none() && batches.next().is_none());
        });
    }
}

#[test]
fn of_several_errors_the_first_batches_is_returned_and_no_later_batch_is_fetched() {
    let fetched = AtomicUsize::new(0);
    let dataset = indices(100, |keys, _| {
        fetched.fetch_max(keys[0].index, SeqCst);
        // The error of the earliest batch is the last to occur.
        thread::sleep(Duration::from_millis(50 - (keys[0].index / 2) as u64));
        if keys[0].index >= 10 { Err(unavailable(keys[0].index)) } else { Ok(()) }
    });
    thread::scope(|scope| {
        let mut batches = loader(10, 4).batches(scope, &dataset, 0).unwrap();
        assert!(batches.next().unwrap().is_ok());
        let error = batches.next();
        assert!(matches!(error, Some(Err(Error::Data(DataError::SampleUnavailable { index: 10, .. })))), "{error:?}");
    });
    assert!(fetched.load(SeqCst) < 60, "batch {} was fetched", fetched.load(SeqCst) / 10);
}

#[test]
fn a_fetch_that_fails_twice_is_repeated_and_the_batches_are_those_without_failure() {
    for workers in [0, 1, 4] {
        let failures: Mutex<Vec<usize>> = Mutex::default();
        let dataset = indices(40, |keys, _| {
            let mut failures = failures.lock().unwrap();
            let first = keys[0].index;
            let earlier = failures.iter().filter(|&&failure| failure == first).count();
            if keys.iter().any(|key| key.index % 20 == 7) && earlier < 2 {
                failures.push(first);
                return Err(unavailable(first));
            }
            Ok(())
        });
        let config = shuffled(5, workers).config().clone();
        let begin = Instant::now();
        let batches = epoch(&config.clone().with_retries(2).build().unwrap(), &dataset, 3);
        assert!(begin.elapsed() >= Duration::from_millis(300), "pauses of 0.1 s and 0.2 s");
        assert_eq!(batches, epoch(&shuffled(5, workers), &indices(40, |_, _| Ok(())), 3), "{workers} workers");
        assert_eq!(failures.lock().unwrap().len(), 4, "two batches failed, twice each");

        failures.lock().unwrap().clear();
        let once = config.with_retries(1).build().unwrap();
        let error = thread::scope(|scope| once.batches(scope, &dataset, 3).unwrap().find_map(Result::err));
        assert!(matches!(error, Some(Error::Data(DataError::SampleUnavailable { .. }))), "{error:?}");
    }
}

#[test]
fn panic_of_the_data_set_is_an_error_with_its_message_and_samples() {
    let dataset = indices(100, |keys, _| match keys[0].index {
        40 => panic!("the image of sample {} is broken", keys[0].index),
        _ => Ok(()),
    });
    for workers in [0, 1, 3] {
        thread::scope(|scope| {
            let mut batches = loader(10, workers).batches(scope, &dataset, 2).unwrap();
            let error = batches.by_ref().find_map(Result::err).expect("an error");
            match error {
                Error::Data(DataError::DatasetPanicked { indices, epoch: 2, message }) => {
                    assert_eq!(indices, (40..50).collect::<Vec<_>>());
                    assert_eq!(message, "the image of sample 40 is broken");
                }
                other => panic!("{other:?}"),
            }
            assert!(batches.next().is_none());
        });
    }
}

#[test]
fn batch_that_does_not_match_its_keys_is_an_error() {
    type Break = fn(&mut Batch);
    let cases: [(Break, BatchProblem); 4] = [
        (
            |batch| batch.targets = Targets::Classes(vec![0]),
            BatchProblem::ValueCount { samples: 1, sample_shape: vec![1], values: 5 },
        ),
        (
            |batch| (batch.values, batch.targets) = (Values::U8(vec![0; 4]), Targets::Classes(vec![0; 4])),
            BatchProblem::SampleCount { expected: 5, actual: 4 },
        ),
        (|batch| batch.sample_shape = vec![1, 1], BatchProblem::OtherShape { expected: vec![1], actual: vec![1, 1] }),
        (
            |batch| batch.targets = Targets::Classes(vec![0, 0, 1, 0, 0]),
            BatchProblem::ClassOutOfRange { position: 2, class: 1, classes: 1 },
        ),
    ];
    for (spoil, expected) in cases {
        let dataset = indices(20, move |keys, batch| {
            if keys[0].index == 10 {
                spoil(batch);
            }
            Ok(())
        });
        for workers in [0, 2] {
            let error = thread::scope(|scope| {
                loader(5, workers).batches(scope, &dataset, 0).unwrap().find_map(Result::err).expect("an error")
            });
            let Error::Data(DataError::WrongBatch { indices, epoch: 0, problem }) = error else { panic!("{error:?}") };
            assert_eq!(indices, [10, 11, 12, 13, 14]);
            assert_eq!(problem, expected);
        }
    }
}

#[test]
fn batches_in_flight_are_bounded() {
    let fetched = AtomicUsize::new(0);
    let dataset = indices(200, |_, _| {
        fetched.fetch_add(1, SeqCst);
        Ok(())
    });
    let loader = loader(1, 3).config().clone().with_prefetch_batches(4).build().unwrap();
    thread::scope(|scope| {
        for (taken, _) in loader.batches(scope, &dataset, 0).unwrap().enumerate() {
            thread::sleep(Duration::from_millis(1));
            let ahead = fetched.load(SeqCst) - (taken + 1);
            assert!(ahead <= 7, "{ahead} batches ahead");
        }
    });
    assert_eq!(fetched.load(SeqCst), 200);
}

#[test]
fn dropping_the_iterator_early_stops_the_workers() {
    let fetched = AtomicUsize::new(0);
    let dataset = indices(1_000_000, |_, _| {
        fetched.fetch_add(1, SeqCst);
        Ok(())
    });
    thread::scope(|scope| {
        let mut batches = loader(1, 2).batches(scope, &dataset, 0).unwrap();
        assert!(batches.nth(9).unwrap().is_ok());
    });
    assert!((10..=14).contains(&fetched.load(SeqCst)), "{fetched:?}");
}

#[test]
fn panic_of_the_caller_stops_the_workers() {
    let dataset = indices(1_000_000, |_, _| Ok(()));
    let caller = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|scope| {
            let mut batches = loader(1, 2).batches(scope, &dataset, 0).unwrap();
            batches.next();
            panic!("the training step failed");
        })
    }));
    assert_eq!(caller.unwrap_err().downcast_ref(), Some(&"the training step failed"));
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_batches_leak_no_thread() {
    use std::fs::{read_link, read_to_string};
    use std::path::{Path, PathBuf};

    /// When a thread started, in clock ticks: with its number, its identity. None where it has ended.
    fn start_of(task: &Path) -> Option<String> {
        let stat = read_to_string(Path::new("/proc").join(task).join("stat")).ok()?;
        // The name, in parentheses, may hold blanks; the start is the twentieth field behind it.
        stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
    }
    let seen: Mutex<HashSet<(PathBuf, String)>> = Mutex::default();
    let dataset = indices(2_500, |_, _| {
        let task = read_link("/proc/thread-self").unwrap();
        let start = start_of(&task).unwrap();
        seen.lock().unwrap().insert((task, start));
        Ok(())
    });
    let loader = shuffled(1, 2);
    let batches: usize = (0..4).map(|number| epoch(&loader, &dataset, number).len()).sum();
    assert_eq!(batches, 10_000);

    let seen = seen.lock().unwrap();
    assert!((1..=8).contains(&seen.len()), "{} threads for four epochs of two workers", seen.len());
    // A scope waits for the threads' work; the system may take a moment longer to remove them.
    let begin = Instant::now();
    while let Some((task, _)) = seen.iter().find(|(task, start)| start_of(task).as_ref() == Some(start)) {
        assert!(begin.elapsed() < Duration::from_secs(20), "thread {} still runs", task.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn loader_supports_trait_objects_and_shared_data_sets() {
    let synthetic = SyntheticConfig::new(20).build().unwrap();
    let boxed: Box<dyn Dataset> = Box::new(synthetic.clone());
    let expected = thread::scope(|scope| {
        loader(8, 1).batches(scope, &synthetic, 0).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    });
    let through_object =
        thread::scope(|scope| loader(8, 1).batches(scope, &*boxed, 0).unwrap().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(through_object, expected);
}
