//! The thread of a predictor, which collects requests into batches and responds to each.

use super::batch::to_rows;
use super::config::PredictorConfig;
use super::prediction::Prediction;
use super::semaphore::Permits;
use crate::data::{Batch, Image, Targets, Values};
use crate::error::{InputError, PredictionError, panic_message};
use crate::models::Model;
use crate::nn::Mode;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tch::Tensor;

/// An image to predict, with the channel for the response.
#[derive(Debug)]
pub(super) struct Request {
    pub image: Image,
    /// Number of values of the image before or after preprocessing, whichever are more.
    pub values: usize,
    pub response: SyncSender<Result<Prediction>>,
}

/// A request in the queue, with its share of the values that may wait there.
#[derive(Debug)]
pub(super) struct Queued {
    pub request: Request,
    pub _permits: Permits,
}

/// A model with everything that is needed to serve requests.
pub(super) struct Worker<M> {
    model: M,
    config: PredictorConfig,
    classes: Arc<[String]>,
}

impl<M: Model> Worker<M> {
    pub fn new(model: M, config: &PredictorConfig) -> Self {
        Worker { model, config: config.clone(), classes: config.classes.clone().into() }
    }

    /// Serves requests until the last sender of the queue is gone.
    pub fn run(self, queue: &Receiver<Queued>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| queue.recv().ok()) {
            let mut requests = vec![first.request];
            next = self.gather(&mut requests, queue);
            // Images of equal shape and dtype are preprocessed together.
            requests.sort_by_key(|request| form(&request.image));
            self.respond(&requests);
        }
    }

    /// Adds the requests that follow soon after the first one, up to the batch size, and returns one that would exceed
    /// the number of values.
    fn gather(&self, requests: &mut Vec<Request>, queue: &Receiver<Queued>) -> Option<Queued> {
        // No deadline where it is too far in the future for the clock.
        let deadline = Instant::now().checked_add(self.config.max_wait);
        let mut free = self.config.max_batch_values.saturating_sub(requests[0].values);
        while requests.len() < self.config.predict.batch_size && free > 0 {
            let wait = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            match queue.recv_timeout(wait) {
                Ok(queued) if queued.request.values > free => return Some(queued),
                Ok(queued) => {
                    free -= queued.request.values;
                    requests.push(queued.request);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        None
    }

    /// Predicts the requests as one batch. If that fails, it predicts them one by one, so that an error affects only
    /// its own request.
    fn respond(&self, requests: &[Request]) {
        let images: Vec<&Image> = requests.iter().map(|request| &request.image).collect();
        let rows = match self.outputs(&images) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(_) => images.into_iter().map(|image| self.outputs(&[image]).map(|mut rows| rows.remove(0))).collect(),
        };
        for (request, row) in requests.iter().zip(rows) {
            let prediction = row.and_then(|outputs| Prediction::new(outputs, self.classes.clone()));
            // The caller may have ended.
            let _ = request.response.send(prediction);
        }
    }

    /// Runs the model, and returns one row of outputs per image. A panic of the model is an error.
    fn outputs(&self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let rows = catch_unwind(AssertUnwindSafe(|| {
            let inputs = self.inputs(images)?;
            let predict = &self.config.predict;
            let outputs = predict.test_time_augment.forward(&self.model, &inputs, &predict.context())?;
            to_rows(&outputs, images.len())
        }));
        let rows = rows.unwrap_or_else(|panic| {
            Err(Error::Prediction(PredictionError::ModelPanicked { message: panic_message(&*panic).to_owned() }))
        })?;
        Ok(rows.rows().into_iter().map(|row| row.to_vec()).collect())
    }

    /// Preprocesses images into one batch, consecutive ones of equal shape and dtype together.
    fn inputs(&self, images: &[&Image]) -> Result<Tensor> {
        let mut parts = Vec::new();
        for alike in images.chunk_by(|a, b| form(a) == form(b)) {
            for images in alike.chunks((MAX_VALUES_TOGETHER / alike[0].values().len()).max(1)) {
                parts.push(self.preprocess(images)?);
            }
        }
        let first = &parts[0].size()[1..];
        if let Some(other) = parts.iter().map(Tensor::size).find(|size| size[1..] != *first) {
            let actual = other[1..].iter().map(|&size| size as usize).collect();
            return Err(Error::Input(InputError::SampleShape {
                actual,
                expected: format!("{first:?}, as others of its batch"),
            }));
        }
        Ok(if let [one] = &parts[..] { one.shallow_clone() } else { Tensor::cat(&parts, 0) })
    }

    /// Preprocesses images of one shape and dtype, and checks that the model accepts them.
    fn preprocess(&self, images: &[&Image]) -> Result<Tensor> {
        // A batch needs targets; these are not used.
        let targets = Targets::Classes(vec![0; images.len()]);
        let batch = Batch::new(images[0].shape(), joined(images), targets);
        let (inputs, _) = self.config.predict.preprocess.tensors(&batch, self.config.predict.device)?;
        self.model.check_input(&inputs.size(), Mode::Eval)?;
        Ok(inputs)
    }
}

/// The shape of an image, and whether its values are bytes.
fn form(image: &Image) -> ([usize; 3], bool) {
    (image.shape(), matches!(image.values(), Values::U8(_)))
}

/// Largest number of values that are preprocessed together: many large images, which preprocessing shrinks, would fill
/// the memory.
const MAX_VALUES_TOGETHER: usize = 1 << 22;

/// Joins the values of images of one dtype.
fn joined(images: &[&Image]) -> Values {
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    for image in images {
        match image.values() {
            Values::U8(values) => bytes.extend_from_slice(values),
            Values::F32(values) => floats.extend_from_slice(values),
        }
    }
    if floats.is_empty() { Values::U8(bytes) } else { Values::F32(floats) }
}
