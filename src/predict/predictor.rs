//! A model that answers many threads at once.

use super::{Answer, PredictConfig};
use crate::data::{Batch, Image, Targets, Values};
use crate::models::Model;
use crate::nn::Mode;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tch::{Tensor, no_grad};

/// How a [`Predictor`] works.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictorConfig {
    /// How samples go through the model; its batch size is the most that go together.
    pub predict: PredictConfig,
    /// The names of the classes, in the order of the outputs. Default: none.
    pub classes: Vec<String>,
    /// The shape `[C, H, W]` of a prepared sample, where it is known: another one is an error of the caller's. Default: any.
    pub sample_shape: Option<[usize; 3]>,
    /// How long a sample waits for others to go with it. Default: 1 ms.
    pub longest_wait: Duration,
    /// The most samples that wait, at least 1. Default: 256.
    pub queue: usize,
    /// The most values of a sample before preprocess, such as pixels times channels. Default: 2²².
    pub largest_sample: usize,
}

impl Default for PredictorConfig {
    fn default() -> Self {
        PredictorConfig {
            predict: PredictConfig::default(),
            classes: Vec::new(),
            sample_shape: None,
            longest_wait: Duration::from_millis(1),
            queue: 256,
            largest_sample: 1 << 22,
        }
    }
}

impl PredictorConfig {
    /// Samples as they are, as many at a time as [`PredictConfig`] says.
    pub fn new(predict: PredictConfig) -> Self {
        PredictorConfig { predict, ..Default::default() }
    }

    setters! {
        with_classes => classes: Vec<String>,
        with_longest_wait => longest_wait: Duration,
        with_queue => queue: usize,
        with_largest_sample => largest_sample: usize,
    }

    /// Sets [`sample_shape`](Self::sample_shape).
    #[must_use]
    pub fn with_sample_shape(mut self, shape: [usize; 3]) -> Self {
        self.sample_shape = Some(shape);
        self
    }
}

/// A model that answers from a thread of its own, and may be asked from any number of threads: clones ask the same model. Samples that wait
/// at the same time go through it together.
///
/// The model ends with the last clone, or with [`shutdown`](Self::shutdown); whatever was asked before is answered.
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
/// let other = predictor.clone();
/// let image = Image::new([3, 64, 64], Values::U8(vec![128; 3 * 64 * 64]))?;
/// let answer = std::thread::spawn(move || other.predict(image)).join().unwrap()?;
/// assert_eq!((answer.outputs.len(), answer.top(2).len()), (3, 2));
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: PredictorConfig,
    /// The way to the model; nothing once it is to end.
    questions: RwLock<Option<SyncSender<Question>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A sample, and the way back.
#[derive(Debug)]
struct Question {
    image: Image,
    answer: SyncSender<Result<Answer>>,
}

impl Predictor {
    /// Moves a model to a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`]; [`Error::Precision`]; [`Error::WorkerStart`] where the system gives no thread.
    pub fn start(model: impl Model + Send + 'static, config: PredictorConfig) -> Result<Self> {
        Error::at_least_one("samples that wait", config.queue)?;
        config.predict.check()?;
        let (sender, receiver) = sync_channel(config.queue);
        let worker = Worker { model, config: config.clone(), classes: config.classes.clone().into() };
        let thread = thread::Builder::new()
            .name("densenet predictor".to_owned())
            .spawn(move || worker.run(&receiver))
            .map_err(|source| Error::WorkerStart { worker: 0, source })?;
        let shared = Shared { config, questions: RwLock::new(Some(sender)), thread: Mutex::new(Some(thread)) };
        Ok(Predictor { shared: Arc::new(shared) })
    }

    /// What the model says about an image, in evaluation. Waits until there is room in the queue, and then for the answer.
    ///
    /// # Errors
    ///
    /// [`Error::SampleShape`], [`Error::NonFiniteOutput`], those of preprocess and model, [`Error::PredictorStopped`].
    pub fn predict(&self, image: Image) -> Result<Answer> {
        let (question, answer) = self.question(image)?;
        self.sender()?.send(question).map_err(|_| Error::PredictorStopped)?;
        answer.recv().map_err(|_| Error::PredictorStopped)?
    }

    /// As [`predict`](Self::predict), but where the queue is full it is an error at once.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::QueueFull`].
    pub fn try_predict(&self, image: Image) -> Result<Answer> {
        let (question, answer) = self.question(image)?;
        self.sender()?.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => Error::QueueFull { limit: self.shared.config.queue },
            TrySendError::Disconnected(_) => Error::PredictorStopped,
        })?;
        answer.recv().map_err(|_| Error::PredictorStopped)?
    }

    /// Takes no more questions, answers those that were asked, and waits until the model has ended.
    pub fn shutdown(&self) {
        self.shared.end();
    }

    fn question(&self, image: Image) -> Result<(Question, Receiver<Result<Answer>>)> {
        let most = self.shared.config.largest_sample;
        if image.values().len() > most {
            let expected = format!("at most {most} values");
            return Err(Error::SampleShape { actual: image.shape().to_vec(), expected });
        }
        let prepared = self.shared.config.predict.preprocess.output_shape(&image.shape())?;
        if let Some(wanted) = self.shared.config.sample_shape
            && prepared != wanted
        {
            return Err(Error::SampleShape { actual: prepared, expected: format!("{wanted:?}") });
        }
        let (sender, answer) = sync_channel(1);
        Ok((Question { image, answer: sender }, answer))
    }

    fn sender(&self) -> Result<SyncSender<Question>> {
        let questions = self.shared.questions.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        questions.clone().ok_or(Error::PredictorStopped)
    }
}

impl Shared {
    fn end(&self) {
        // The thread ends when the last sender is gone, also those of callers that wait for room.
        drop(self.questions.write().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
        if let Some(thread) = lock(&self.thread).take() {
            // It catches what the model throws; and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Worker<M> {
    model: M,
    config: PredictorConfig,
    classes: Arc<[String]>,
}

impl<M: Model> Worker<M> {
    fn run(self, questions: &Receiver<Question>) {
        while let Ok(first) = questions.recv() {
            let batch = self.gather(first, questions);
            self.answer(batch);
        }
    }

    /// A question and those that come soon after it, as many as go together.
    fn gather(&self, first: Question, questions: &Receiver<Question>) -> Vec<Question> {
        // Without an end where that is too far away to be told.
        let (most, end) = (self.config.predict.batch_size, Instant::now().checked_add(self.config.longest_wait));
        let mut batch = vec![first];
        while batch.len() < most {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            match questions.recv_timeout(left) {
                Ok(question) => batch.push(question),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }

    /// Answers questions together; where that fails, one by one, so that an error reaches only whom it concerns.
    fn answer(&self, batch: Vec<Question>) {
        let images: Vec<&Image> = batch.iter().map(|question| &question.image).collect();
        let answers = match self.outputs(&images) {
            Ok(outputs) => outputs.into_iter().map(Ok).collect(),
            Err(error) if batch.len() == 1 => vec![Err(error)],
            Err(_) => {
                let alone =
                    |image| self.outputs(&[image]).map(|outputs| outputs.into_iter().next().unwrap_or_default());
                images.into_iter().map(alone).collect::<Vec<_>>()
            }
        };
        for (question, outputs) in batch.iter().zip(answers) {
            let answer = outputs.and_then(|outputs| Answer::new(outputs, self.classes.clone()));
            // Whoever asked may be gone.
            let _ = question.answer.send(answer);
        }
    }

    /// The model's outputs, a row for each image.
    fn outputs(&self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let rows = catch_unwind(AssertUnwindSafe(|| {
            let inputs = self.inputs(images)?;
            super::to_array(&no_grad(|| self.model.forward(&inputs, &self.config.predict.context()))?)
        }));
        let rows = rows.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(Error::ModelPanicked { message: text.to_owned() })
        })?;
        if rows.nrows() != images.len() {
            let message = format!("it gave {} rows for {} samples", rows.nrows(), images.len());
            return Err(Error::Libtorch { what: "a model's outputs", message });
        }
        Ok(rows.rows().into_iter().map(|row| row.to_vec()).collect())
    }

    /// The images as one prepared batch; those of one shape and kind are prepared together.
    fn inputs(&self, images: &[&Image]) -> Result<Tensor> {
        let mut alike: BTreeMap<([usize; 3], bool), Vec<usize>> = BTreeMap::new();
        for (index, image) in images.iter().enumerate() {
            alike.entry((image.shape(), matches!(image.values(), Values::U8(_)))).or_default().push(index);
        }
        let mut prepared = Vec::with_capacity(alike.len());
        let mut order = Vec::with_capacity(images.len());
        let groups = alike.into_iter().flat_map(|((shape, _), indices)| {
            let together = (MAX_TOGETHER / shape.iter().product::<usize>()).max(1);
            indices.chunks(together).map(|indices| (shape, indices.to_vec())).collect::<Vec<_>>()
        });
        for (shape, indices) in groups {
            let values = joined(indices.iter().map(|&index| images[index].values()));
            let batch =
                Batch { sample_shape: shape.to_vec(), values, targets: Targets::Classes(vec![0; indices.len()]) };
            let (inputs, _) = self.config.predict.preprocess.tensors(&batch, self.config.predict.device)?;
            self.model.check_input(&inputs.size(), Mode::Eval)?;
            prepared.push(inputs);
            order.extend(indices);
        }
        if let [one] = &prepared[..] {
            return Ok(one.shallow_clone());
        }
        let all = Tensor::f_cat(&prepared, 0)
            .map_err(|error| Error::Libtorch { what: "samples of several shapes", message: error.to_string() })?;
        // Back into the order in which they were asked.
        let mut places = vec![0_i64; order.len()];
        order.iter().enumerate().for_each(|(place, &index)| places[index] = place as i64);
        let places = Tensor::from_slice(&places).to_device(self.config.predict.device);
        Ok(all.index_select(0, &places))
    }
}

/// The most values that are prepared together: large images, which preprocess makes small, would fill the memory.
const MAX_TOGETHER: usize = 1 << 22;

/// Values of one kind, one after the other.
fn joined<'a>(all: impl Iterator<Item = &'a Values>) -> Values {
    let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
    for values in all {
        match values {
            Values::U8(values) => bytes.extend_from_slice(values),
            Values::F32(values) => numbers.extend_from_slice(values),
        }
    }
    if numbers.is_empty() { Values::U8(bytes) } else { Values::F32(numbers) }
}

const _: () = {
    const fn is_shared_between_threads<T: Clone + Send + Sync>() {}
    is_shared_between_threads::<Predictor>();
};
