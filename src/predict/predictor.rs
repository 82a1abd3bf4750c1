//! A model that serves the requests of many threads.

use super::config::PredictorConfig;
use super::prediction::Prediction;
use super::semaphore::Semaphore;
use super::worker::{Queued, Request, Worker};
use crate::data::Image;
use crate::error::{InputError, PredictionError};
use crate::models::Model;
use crate::{Error, Result};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

/// A handle to a model that runs on a thread of its own and predicts for any number of threads. Clones share the model.
///
/// Requests that wait at the same time are predicted as one batch. The model's thread ends with the last clone, or with
/// [`shutdown`](Self::shutdown), after the requests that were accepted before.
///
/// # Memory
///
/// The images that wait and those of a batch are limited in number and in values, by
/// [`PredictorConfig`]. On the CPU, libtorch and oneDNN compile each convolution for each shape of its input, and keep
/// up to 1024 of them each. A process that predicts images of many sizes grows by them: by 30 to 200 MB. The environment
/// variables `ONEDNN_PRIMITIVE_CACHE_CAPACITY` and `LRU_CACHE_CAPACITY` limit their numbers, and have to be set when the
/// process starts. Both should be at least the number of the network's convolutions; or give all images one size with
/// [`Preprocess::with_size`](crate::Preprocess::with_size).
///
/// # Examples
///
/// ```
/// use densenet::DenseNetConfig;
/// use densenet::data::{Image, Values};
/// use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
/// use densenet::tch::{Device, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let net = DenseNetConfig::new(3).with_growth_rate(8).with_layers_per_block([2, 2]).build(&vs.root())?;
/// let config = PredictorConfig::new(PredictConfig::default().with_device(Device::Cpu));
/// let predictor = Predictor::start(net, config)?;
///
/// let other = predictor.clone();
/// let image = Image::new([3, 64, 64], Values::U8(vec![128; 3 * 64 * 64]))?;
/// let prediction = std::thread::spawn(move || other.predict(image)).join().unwrap()?;
/// assert_eq!(prediction.outputs.len(), 3);
/// assert!(prediction.top(1)[0].probability >= 1.0 / 3.0);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: PredictorConfig,
    /// The queue to the worker; `None` after the shutdown.
    requests: RwLock<Option<SyncSender<Queued>>>,
    /// One permit for each value that may wait in the queue.
    values: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Predictor {
    /// Moves a model to a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a batch size or a limit of the queue or batch out of range, or where the device does not
    /// support the precision; [`PredictionError::Start`] where the operating system does not start a thread.
    pub fn start(model: impl Model + Send + 'static, config: PredictorConfig) -> Result<Self> {
        Error::at_least_one("the capacity of the queue", config.queue_capacity)?;
        Error::at_least_one("the number of values in the queue", config.max_queued_values)?;
        Error::at_least_one("the number of values in a batch", config.max_batch_values)?;
        config.predict.check()?;
        let (sender, receiver) = sync_channel(config.queue_capacity);
        let worker = Worker::new(model, &config);
        let thread = thread::Builder::new()
            .name("densenet predictor".to_owned())
            .spawn(move || worker.run(&receiver))
            .map_err(|source| Error::Prediction(PredictionError::Start { source }))?;
        let values = Semaphore::new(config.max_queued_values);
        let shared = Shared { config, requests: RwLock::new(Some(sender)), values, thread: Mutex::new(Some(thread)) };
        Ok(Predictor { shared: Arc::new(shared) })
    }

    /// Predicts an image in evaluation mode. Blocks while the queue is full, and then until the prediction is made.
    ///
    /// # Errors
    ///
    /// [`InputError::SampleShape`] for an image of the wrong shape or of too many values;
    /// [`PredictionError::NonFiniteOutput`] and [`PredictionError::OutputShape`] for invalid outputs;
    /// [`PredictionError::ModelPanicked`]; those of preprocessing and of the model; [`PredictionError::Stopped`] after
    /// the shutdown.
    pub fn predict(&self, image: Image) -> Result<Prediction> {
        let (request, response) = self.request(image)?;
        let permits = self.shared.values.acquire(request.values);
        let queued = Queued { request, _permits: permits };
        self.queue()?.send(queued).map_err(|_| Error::Prediction(PredictionError::Stopped))?;
        response.recv().map_err(|_| Error::Prediction(PredictionError::Stopped))?
    }

    /// Predicts an image as [`predict`](Self::predict) does, but returns an error at once where the queue is full.
    ///
    /// # Errors
    ///
    /// Those of [`predict`](Self::predict), and [`PredictionError::QueueFull`].
    pub fn try_predict(&self, image: Image) -> Result<Prediction> {
        let (request, response) = self.request(image)?;
        let full = |limit, counted| Error::Prediction(PredictionError::QueueFull { limit, counted });
        let PredictorConfig { queue_capacity, max_queued_values, .. } = self.shared.config;
        let permits = self.shared.values.try_acquire(request.values);
        let permits = permits.ok_or_else(|| full(max_queued_values, "values"))?;
        self.queue()?.try_send(Queued { request, _permits: permits }).map_err(|error| match error {
            TrySendError::Full(_) => full(queue_capacity, "images"),
            TrySendError::Disconnected(_) => Error::Prediction(PredictionError::Stopped),
        })?;
        response.recv().map_err(|_| Error::Prediction(PredictionError::Stopped))?
    }

    /// Refuses further requests, completes those that were accepted, and waits until the model's thread has ended.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    /// Checks an image, and creates a request with the channel for its response.
    fn request(&self, image: Image) -> Result<(Request, Receiver<Result<Prediction>>)> {
        let config = &self.shared.config;
        if image.values().len() > config.max_image_values {
            let expected = format!("at most {} values", config.max_image_values);
            return Err(Error::Input(InputError::SampleShape { actual: image.shape().to_vec(), expected }));
        }
        #[cfg(feature = "images")]
        let image = fitted(image, config)?;
        let actual = config.predict.preprocess.output_shape(&image.shape())?;
        let preprocessed = actual.iter().fold(1_usize, |values, &size| values.saturating_mul(size));
        if let Some(expected) = config.sample_shape
            && actual != expected
        {
            return Err(Error::Input(InputError::SampleShape { actual, expected: format!("{expected:?}") }));
        }
        let values = preprocessed.max(image.values().len());
        let (sender, response) = sync_channel(1);
        Ok((Request { image, values, response: sender }, response))
    }

    fn queue(&self) -> Result<SyncSender<Queued>> {
        let requests = self.shared.requests.read().unwrap_or_else(PoisonError::into_inner);
        requests.clone().ok_or(Error::Prediction(PredictionError::Stopped))
    }
}

/// Gives an image of bytes the size of the training's images.
#[cfg(feature = "images")]
fn fitted(image: Image, config: &PredictorConfig) -> Result<Image> {
    match config.fit {
        Some((size, fit, interpolation)) if image.bytes().is_some() && matches!(image.shape()[0], 1 | 3) => {
            image.fit(size, fit, interpolation)
        }
        _ => Ok(image),
    }
}

impl Shared {
    fn shutdown(&self) {
        // The thread ends when the last sender is gone, including those of callers that wait for space in the queue.
        drop(self.requests.write().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The worker catches panics of the model, and nothing else in it panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shutdown();
    }
}

const _: () = {
    const fn is_shared_between_threads<T: Clone + Send + Sync>() {}
    is_shared_between_threads::<Predictor>();
};
