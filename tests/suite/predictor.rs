//! A predictor gives each of many threads the prediction for its own image.

use crate::small_run::{built, net};
use densenet::data::{Image, SyntheticConfig, Values};
use densenet::error::{ConfigError, DataError, InputError, PredictionError};
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::predict::{PredictConfig, Predictor, PredictorConfig, predict};
use densenet::tch::{Device, Kind, Tensor, no_grad};
use densenet::{Error, Preprocess, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn image(number: usize, side: usize) -> Image {
    let value = |i: usize| ((i * 31 + number * 17) % 256) as u8;
    Image::new([1, side, side], Values::U8((0..side * side).map(value).collect())).unwrap()
}

fn config(batch_size: usize) -> PredictorConfig {
    let preprocess = Preprocess::new().with_size([16, 16]);
    PredictorConfig::new(
        PredictConfig::default().with_device(Device::Cpu).with_batch_size(batch_size).with_preprocess(preprocess),
    )
}

fn predictor(config: PredictorConfig) -> Predictor {
    let (_vs, model) = built(&net());
    Predictor::start(model, config).unwrap()
}

#[test]
fn sixty_four_threads_get_what_single_calls_get() {
    let single = predictor(config(1));
    let expected: Vec<_> = (0..64).map(|number| single.predict(image(number, 12 + number % 3)).unwrap()).collect();
    let shared = predictor(config(16).with_max_wait(Duration::from_millis(5)));
    let start = Barrier::new(64);
    thread::scope(|scope| {
        for (number, expected) in expected.iter().enumerate() {
            let (predictor, start) = (shared.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..10 {
                    let prediction = predictor.predict(image(number, 12 + number % 3)).unwrap();
                    // Convolutions of larger batches may sum in another order.
                    assert_eq!(prediction.outputs.len(), expected.outputs.len());
                    let deviation = prediction
                        .outputs
                        .iter()
                        .zip(&expected.outputs)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f32::max);
                    assert!(deviation <= 1e-5, "{number}: {deviation}");
                }
            });
        }
    });
    // Alone in its batch a prediction is the same, bit for bit.
    assert_eq!(shared.predict(image(5, 14)).unwrap(), expected[5]);
}

/// A model that gives each sample's mean and records the sizes of batches. It fails for a batch with
/// a sample that begins with 1, and panics for one that begins with 2.
struct Mean {
    batches: Arc<Mutex<Vec<i64>>>,
    delay: Duration,
}

impl Mean {
    fn new(delay: Duration) -> (Self, Arc<Mutex<Vec<i64>>>) {
        let batches = Arc::default();
        (Mean { batches: Arc::clone(&batches), delay }, batches)
    }
}

impl Model for Mean {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        assert_eq!(ctx.mode, Mode::Eval);
        self.batches.lock().unwrap().push(x.size()[0]);
        thread::sleep(self.delay);
        let rows = x.flatten(1, -1);
        let first = rows.select(1, 0);
        if first.eq(1.0).any().int64_value(&[]) == 1 {
            return Err(Error::Data(DataError::EmptyDataset));
        }
        assert!(first.eq(2.0).any().int64_value(&[]) == 0, "a sample that the model cannot bear");
        Ok(rows.mean_dim([1].as_slice(), true, Kind::Float))
    }
}

fn numbers(values: Vec<f32>) -> Image {
    Image::new([1, 1, values.len()], Values::F32(values)).unwrap()
}

fn plain(batch_size: usize) -> PredictorConfig {
    PredictorConfig::new(PredictConfig::default().with_device(Device::Cpu).with_batch_size(batch_size))
}

#[test]
fn requests_that_wait_are_batched_and_none_waits_for_ever() {
    let (model, batches) = Mean::new(Duration::from_millis(20));
    let predictor = Predictor::start(model, plain(8).with_max_wait(Duration::from_millis(10))).unwrap();
    thread::scope(|scope| {
        for number in 0..40 {
            let predictor = &predictor;
            scope.spawn(move || {
                assert_eq!(
                    predictor.predict(numbers(vec![number as f32 / 64.0, 0.0])).unwrap().outputs,
                    [number as f32 / 128.0]
                )
            });
        }
    });
    let sizes = batches.lock().unwrap().clone();
    assert!(sizes.iter().sum::<i64>() == 40 && sizes.iter().max() == Some(&8) && sizes.len() < 20, "{sizes:?}");
    let started = Instant::now();
    predictor.predict(numbers(vec![0.5])).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn an_error_reaches_only_the_caller_that_it_belongs_to() {
    let (model, batches) = Mean::new(Duration::ZERO);
    let predictor = Predictor::start(model, plain(16).with_max_wait(Duration::from_millis(50))).unwrap();
    let start = Barrier::new(16);
    thread::scope(|scope| {
        for number in 0..16 {
            let (predictor, start) = (&predictor, &start);
            scope.spawn(move || {
                start.wait();
                match number {
                    3 => assert!(matches!(
                        predictor.predict(numbers(vec![1.0, 0.0])),
                        Err(Error::Data(DataError::EmptyDataset))
                    )),
                    5 => match predictor.predict(numbers(vec![2.0, 0.0])) {
                        Err(Error::Prediction(PredictionError::ModelPanicked { message })) => {
                            assert!(message.contains("cannot bear"), "{message}")
                        }
                        other => panic!("{other:?}"),
                    },
                    7 => assert!(matches!(
                        predictor.predict(numbers(vec![f32::NAN, 0.0])),
                        Err(Error::Prediction(PredictionError::NonFiniteOutput { .. }))
                    )),
                    _ => assert_eq!(predictor.predict(numbers(vec![0.25, 0.25])).unwrap().outputs, [0.25]),
                }
            });
        }
    });
    let sizes = batches.lock().unwrap().clone();
    assert!(sizes.iter().any(|&size| size > 1), "some went together: {sizes:?}");
    assert_eq!(predictor.predict(numbers(vec![0.5, 0.0])).unwrap().outputs, [0.25], "it continues after a panic");
}

/// A model with an output row too few for each batch.
struct RowTooFew;

impl Model for RowTooFew {
    fn forward(&self, x: &Tensor, _: &ForwardContext) -> Result<Tensor> {
        Ok(x.flatten(1, -1).narrow(0, 1, x.size()[0] - 1))
    }
}

#[test]
fn a_model_whose_output_has_not_one_row_per_sample_is_an_error_that_says_so() {
    let is_output_shape = |result: Result<()>, expected: usize| {
        assert!(
            matches!(result, Err(Error::Prediction(PredictionError::OutputShape { samples, .. })) if samples == expected),
            "{result:?}"
        );
    };
    let predictor = Predictor::start(RowTooFew, plain(4)).unwrap();
    is_output_shape(predictor.predict(numbers(vec![0.5])).map(drop), 1);
    let samples = SyntheticConfig::new(6).with_sample_shape([1, 2, 2]).with_classes(3).build().unwrap();
    is_output_shape(predict(&RowTooFew, &samples, &plain(4).predict).map(drop), 4);
}

#[test]
fn images_of_a_wrong_shape_are_errors_before_they_wait() {
    let (_vs, model) = built(&net());
    let predictor = Predictor::start(model, config(4).with_sample_shape([1, 16, 16])).unwrap();
    let colors = Image::new([3, 16, 16], Values::U8(vec![0; 3 * 256])).unwrap();
    match predictor.predict(colors) {
        Err(Error::Input(InputError::SampleShape { actual, .. })) => assert_eq!(actual, [3, 16, 16]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(Image::new([1, 2, 2], Values::U8(vec![0; 5])), Err(Error::Input(InputError::SampleShape { .. }))));
    assert!(matches!(
        Image::new([usize::MAX, 2, 2], Values::U8(vec![])),
        Err(Error::Input(InputError::SampleShape { .. }))
    ));
    let (model, _) = Mean::new(Duration::ZERO);
    let patient = Predictor::start(model, plain(2).with_max_wait(Duration::MAX).with_max_image_values(3)).unwrap();
    assert!(matches!(patient.predict(numbers(vec![0.0; 4])), Err(Error::Input(InputError::SampleShape { .. }))));
    thread::scope(|scope| {
        let waiting = [0.25, 0.75].map(|value| {
            scope.spawn({
                let patient = &patient;
                move || patient.predict(numbers(vec![value])).unwrap().outputs[0]
            })
        });
        assert_eq!(
            waiting.map(|thread| thread.join().unwrap()),
            [0.25, 0.75],
            "they wait for each other, however long"
        );
    });
    for config in [config(0), config(1).with_queue_capacity(0)] {
        let (_vs, model) = built(&net());
        assert!(matches!(Predictor::start(model, config), Err(Error::Config(ConfigError::InvalidValue { .. }))));
    }
}

#[test]
fn tensors_are_predicted_like_images() {
    let predictor = predictor(config(4));
    let bytes = Tensor::from_slice(&(0..=255).collect::<Vec<u8>>()).view([1, 16, 16]);
    let of = |tensor: &Tensor| predictor.predict(Image::try_from(tensor).unwrap()).unwrap();
    let numbers = bytes.to_kind(Kind::Double) / 255.0;
    let deviation = of(&bytes).outputs.iter().zip(of(&numbers).outputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(deviation < 1e-5, "{deviation}");
    let transposed = numbers.transpose(1, 2);
    assert_ne!(of(&transposed), of(&numbers), "values are taken in the order of the shape");
    assert!(matches!(Image::try_from(&numbers.get(0)), Err(Error::Input(InputError::SampleShape { .. }))));
}

#[test]
fn try_predict_fails_at_once_where_the_queue_is_full() {
    let (model, _) = Mean::new(Duration::from_millis(100));
    let predictor = Predictor::start(model, plain(1).with_queue_capacity(2)).unwrap();
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| match predictor.try_predict(numbers(vec![0.5])) {
                Ok(prediction) => assert_eq!(prediction.outputs, [0.5]),
                Err(Error::Prediction(PredictionError::QueueFull { limit: 2, counted: "images" })) => {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                Err(other) => panic!("{other:?}"),
            });
        }
    });
    let refused = refused.into_inner();
    assert!((1..12).contains(&refused), "{refused}");
}

#[test]
fn the_values_of_images_in_the_queue_and_of_a_batch_are_limited() {
    let sizes = |sent: &[usize], queued: usize, batched: usize| {
        let (model, batches) = Mean::new(Duration::from_millis(30));
        let config = plain(16).with_max_wait(Duration::from_millis(20));
        let config = config.with_max_queued_values(queued).with_max_batch_values(batched);
        let predictor = Predictor::start(model, config).unwrap();
        thread::scope(|scope| {
            for &length in sent {
                let predictor = &predictor;
                scope.spawn(move || {
                    assert_eq!(predictor.predict(numbers(vec![0.5; length])).unwrap().outputs, [0.5]);
                });
            }
        });
        batches.lock().unwrap().clone()
    };
    // All of one length, since a model gets one shape at a time.
    let batches = sizes(&[10; 16], 1000, 40);
    assert!(batches.iter().all(|&images| images <= 4) && batches.contains(&4), "{batches:?}");
    assert_eq!(sizes(&[10; 4], 1000, 5), [1; 4], "an image that exceeds the limit is a batch alone");
    assert_eq!(sizes(&[10; 4], 5, 1000).iter().sum::<i64>(), 4, "an image that exceeds the limit waits alone");
    for config in [plain(1).with_max_queued_values(0), plain(1).with_max_batch_values(0)] {
        let (model, _) = Mean::new(Duration::ZERO);
        assert!(matches!(Predictor::start(model, config), Err(Error::Config(ConfigError::InvalidValue { .. }))));
    }
}

#[test]
fn try_predict_fails_at_once_where_the_values_in_the_queue_are_too_many() {
    let (model, _) = Mean::new(Duration::from_millis(100));
    // The size after preprocessing counts, which is larger here: 1 × 4 × 4 values.
    let mut config = plain(1).with_max_queued_values(40);
    config.predict = config.predict.with_preprocess(Preprocess::new().with_size([4, 4]));
    let predictor = Predictor::start(model, config).unwrap();
    let (predicted, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| match predictor.try_predict(numbers(vec![0.5])) {
                Ok(_) => predicted.fetch_add(1, Ordering::SeqCst),
                Err(Error::Prediction(PredictionError::QueueFull { limit: 40, counted: "values" })) => {
                    refused.fetch_add(1, Ordering::SeqCst)
                }
                Err(other) => panic!("{other:?}"),
            });
        }
    });
    let (predicted, refused) = (predicted.into_inner(), refused.into_inner());
    assert!(predicted >= 2 && refused >= 1 && predicted + refused == 12, "{predicted} and {refused}");
    // The place of an image is free when its caller has the prediction.
    (0..3).for_each(|_| drop(predictor.try_predict(numbers(vec![0.5])).unwrap()));
}

#[test]
fn shutdown_completes_accepted_requests_and_refuses_later_ones() {
    for by_drop in [false, true] {
        let (model, batches) = Mean::new(Duration::from_millis(10));
        let predictor = Predictor::start(model, plain(4).with_queue_capacity(2)).unwrap();
        let (completed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..32 {
                let (predictor, completed, refused) = (predictor.clone(), &completed, &refused);
                scope.spawn(move || match predictor.predict(numbers(vec![0.5])) {
                    Ok(_) => drop(completed.fetch_add(1, Ordering::SeqCst)),
                    Err(Error::Prediction(PredictionError::Stopped)) => drop(refused.fetch_add(1, Ordering::SeqCst)),
                    Err(other) => panic!("{other:?}"),
                });
            }
            thread::sleep(Duration::from_millis(25));
            if !by_drop {
                predictor.shutdown();
            }
        });
        let (completed, refused) = (completed.into_inner(), refused.into_inner());
        assert_eq!(completed + refused, 32);
        assert_eq!(
            batches.lock().unwrap().iter().sum::<i64>(),
            completed as i64,
            "every accepted request got a response"
        );
        if by_drop {
            assert_eq!(refused, 0);
        } else {
            assert!(matches!(predictor.predict(numbers(vec![0.5])), Err(Error::Prediction(PredictionError::Stopped))));
            predictor.shutdown();
        }
    }
}

#[test]
fn many_threads_get_almost_the_throughput_of_batches() {
    // A net and images at which a step takes some time, so that what a predictor adds shows in proportion.
    let net = densenet::DenseNetConfig::fashion_mnist();
    let size = [32_i64, 1, 64, 64];
    let (_vs, model) = built(&net);
    let x = Tensor::rand(size, (Kind::Float, Device::Cpu));
    let values = Vec::<f32>::try_from(x.view(-1)).unwrap();
    let image = Image::new([1, 64, 64], Values::F32(values[..64 * 64].to_vec())).unwrap();
    let (_vs, other) = built(&net);
    let predictor = Predictor::start(other, plain(32).with_max_wait(Duration::from_millis(5))).unwrap();
    let seconds = |work: &dyn Fn()| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    let of_batches =
        || (0..4).for_each(|_| drop(no_grad(|| model.forward(&x, &ForwardContext::new(Mode::Eval))).unwrap()));
    let of_threads = || {
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| (0..2).for_each(|_| drop(predictor.predict(image.clone()).unwrap())));
            }
        });
    };
    // In turns, since this test has neighbors that slow down one or the other.
    let median = || {
        let mut ratios: Vec<f64> = (0..7).map(|_| seconds(&of_batches) / seconds(&of_threads)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[3]
    };
    seconds(&of_threads);
    let medians: Vec<f64> = (0..5).map(|_| median()).take_while(|&ratio| ratio < 0.9).collect();
    assert!(medians.len() < 5, "shares of the throughput of plain batches: {medians:?}");
}
