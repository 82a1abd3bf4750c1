//! The thread of a predictor: gathers requests into batches, and responds to each.

use super::batch::to_rows;
use super::config::PredictorConfig;
use super::prediction::Prediction;
use crate::data::{Batch, Image, Targets, Values};
use crate::models::Model;
use crate::nn::Mode;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tch::{Tensor, no_grad};

/// An image to predict, with the channel that takes the response.
#[derive(Debug)]
pub(super) struct Request {
    pub image: Image,
    pub response: SyncSender<Result<Prediction>>,
}

/// A model with what it needs to serve requests.
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
    pub fn run(self, queue: &Receiver<Request>) {
        while let Ok(first) = queue.recv() {
            let requests = self.gather(first, queue);
            self.respond(&requests);
        }
    }

    /// Takes the requests that follow soon after the first one, up to the batch size.
    fn gather(&self, first: Request, queue: &Receiver<Request>) -> Vec<Request> {
        // No deadline where it is too far in the future for the clock.
        let deadline = Instant::now().checked_add(self.config.max_wait);
        let mut requests = vec![first];
        while requests.len() < self.config.predict.batch_size {
            let wait = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            match queue.recv_timeout(wait) {
                Ok(request) => requests.push(request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        requests
    }

    /// Predicts the requests as one batch. Where that fails, predicts them one by one, so that an error reaches only the
    /// request that it belongs to.
    fn respond(&self, requests: &[Request]) {
        let images: Vec<&Image> = requests.iter().map(|request| &request.image).collect();
        let rows = match self.outputs(&images) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(_) => images.into_iter().map(|image| self.outputs(&[image]).map(|mut rows| rows.remove(0))).collect(),
        };
        for (request, row) in requests.iter().zip(rows) {
            let prediction = row.and_then(|outputs| Prediction::new(outputs, self.classes.clone()));
            // The caller may be gone.
            let _ = request.response.send(prediction);
        }
    }

    /// Runs the model, and gives one row of outputs per image. A panic of the model is an error.
    fn outputs(&self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let rows = catch_unwind(AssertUnwindSafe(|| {
            let inputs = self.inputs(images)?;
            let outputs = no_grad(|| self.model.forward(&inputs, &self.config.predict.context()))?;
            to_rows(&outputs, images.len())
        }));
        let rows = rows.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(Error::ModelPanicked { message: text.to_owned() })
        })?;
        Ok(rows.rows().into_iter().map(|row| row.to_vec()).collect())
    }

    /// Preprocesses images into one batch. Images of equal shape and dtype are preprocessed together.
    fn inputs(&self, images: &[&Image]) -> Result<Tensor> {
        let mut groups: BTreeMap<([usize; 3], bool), Vec<usize>> = BTreeMap::new();
        for (index, image) in images.iter().enumerate() {
            groups.entry((image.shape(), matches!(image.values(), Values::U8(_)))).or_default().push(index);
        }
        let mut parts = Vec::with_capacity(groups.len());
        let mut order: Vec<usize> = Vec::with_capacity(images.len());
        for ((shape, _), indices) in groups {
            let together = (MAX_VALUES_TOGETHER / shape.iter().product::<usize>()).max(1);
            for indices in indices.chunks(together) {
                parts.push(self.preprocess(shape, indices.iter().map(|&index| images[index].values()))?);
                order.extend(indices);
            }
        }
        if let [one] = &parts[..] {
            return Ok(one.shallow_clone());
        }
        let first = &parts[0].size()[1..];
        if let Some(other) = parts.iter().map(|part| part.size()).find(|size| size[1..] != *first) {
            let actual = other[1..].iter().map(|&size| size as usize).collect();
            return Err(Error::SampleShape { actual, expected: format!("{first:?} as the others of its batch") });
        }
        // Back into the order of the requests.
        let mut places = vec![0_i64; order.len()];
        order.iter().enumerate().for_each(|(place, &index)| places[index] = place as i64);
        let places = Tensor::from_slice(&places).to_device(self.config.predict.device);
        Ok(Tensor::cat(&parts, 0).index_select(0, &places))
    }

    /// Preprocesses images of one shape and dtype, and checks that the model accepts them.
    fn preprocess<'a>(&self, shape: [usize; 3], images: impl ExactSizeIterator<Item = &'a Values>) -> Result<Tensor> {
        // A batch needs targets; nobody looks at these.
        let targets = Targets::Classes(vec![0; images.len()]);
        let batch = Batch { sample_shape: shape.to_vec(), values: joined(images), targets };
        let (inputs, _) = self.config.predict.preprocess.tensors(&batch, self.config.predict.device)?;
        self.model.check_input(&inputs.size(), Mode::Eval)?;
        Ok(inputs)
    }
}

/// Most values that are preprocessed together: large images, which preprocessing makes small, would fill the memory.
const MAX_VALUES_TOGETHER: usize = 1 << 22;

/// Joins the values of images of one dtype.
fn joined<'a>(images: impl Iterator<Item = &'a Values>) -> Values {
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    for values in images {
        match values {
            Values::U8(values) => bytes.extend_from_slice(values),
            Values::F32(values) => floats.extend_from_slice(values),
        }
    }
    if floats.is_empty() { Values::U8(bytes) } else { Values::F32(floats) }
}
