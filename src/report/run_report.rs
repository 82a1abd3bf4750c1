//! A run as pages and images to look at.

use super::page::content::{FactGroup, LabeledImage, ReportContent, RunStatus};
use super::page::image::Image;
use super::page::{curves, html, predictions};
use crate::data::{Batch, Dataset, Phase, SampleKey, Subset, Targets, Values};
use crate::metrics::{ClassPrediction, ConfusionMatrix};
use crate::torch::{device_name, versions};
use crate::train::{Callback, Event, Outcome, Run};
use crate::{Result, files};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Images in the grid: three rows of eight.
const IMAGES: usize = 24;

/// Writes `report.html`, `curves.png` and `predictions.png` into a folder, after every epoch and at the end.
///
/// The page shows the curves of losses and accuracies against the epoch, the first test images with their true and
/// predicted classes, the confusion matrix, accuracy by class, the configuration and what else was added, and needs no
/// network.
#[derive(Clone, Debug)]
pub struct Report {
    folder: PathBuf,
    title: String,
    summary: Option<String>,
    facts: Vec<FactGroup>,
    confusion: Option<ConfusionMatrix>,
    predicted: Vec<ClassPrediction>,
}

impl Report {
    /// A report in this folder, which has to exist when the run starts.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Report {
            folder: folder.into(),
            title: "Training run".to_owned(),
            summary: None,
            facts: Vec::new(),
            confusion: None,
            predicted: Vec::new(),
        }
    }

    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds the model's summary, or another description of its layers; it is set in one width.
    #[must_use]
    pub fn with_summary(mut self, summary: impl ToString) -> Self {
        self.summary = Some(summary.to_string());
        self
    }

    /// Adds a table of what a reader may want to know.
    #[must_use]
    pub fn with_facts(mut self, facts: FactGroup) -> Self {
        self.facts.push(facts);
        self
    }

    fn write(&self, status: RunStatus, run: &Run) -> Result<()> {
        let mut content = ReportContent::new(&self.title);
        content.status = status;
        content.history = run.history.clone();
        content.classes = run.datasets.train.classes().to_vec();
        content.confusion = self.confusion.clone();
        content.images = images(shown(run), &self.predicted)?;
        content.summary = self.summary.clone();
        content.facts = vec![configuration(run), machine(run)];
        content.facts.extend(self.facts.iter().cloned());
        curves::write(&content, &self.folder.join("curves.png"))?;
        predictions::write(&content, &self.folder.join("predictions.png"))?;
        html::write(&content, &self.folder.join("report.html"))
    }
}

impl Callback for Report {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => files::check_writable(&self.folder.join("report.html"))?,
            Event::EpochEnded { test, validation, .. } => {
                if let Some(evaluation) = test.or(*validation) {
                    self.confusion = evaluation.confusion.clone();
                    self.predicted = evaluation.predictions.iter().take(IMAGES).copied().collect();
                }
                self.write(RunStatus::Running, run)?;
            }
            Event::FitEnded { outcome: Outcome::Finished } => self.write(RunStatus::Finished, run)?,
            Event::FitEnded { outcome: Outcome::Stopped { epoch, step, epoch_completed } } => {
                if !epoch_completed {
                    // The weights have moved on since the last evaluation; the images show what they say now.
                    let first = Subset::first(shown(run), IMAGES);
                    self.predicted = run.evaluate(&first)?.predictions;
                }
                self.write(RunStatus::Stopped { epoch: *epoch, step: *step }, run)?;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The data set whose first images are shown: the test set, or what stands in for it.
fn shown<'a>(run: &Run<'a>) -> &'a dyn Dataset {
    let sets = run.datasets;
    sets.test.or(sets.validation).unwrap_or(sets.train)
}

fn configuration(run: &Run) -> FactGroup {
    let config = run.config;
    FactGroup::new("Configuration")
        .with("epochs", config.epochs)
        .with("batch size", config.batch_size)
        .with("learning rate", run.base_learning_rate)
        .with("schedule", format!("{:?}", config.schedule))
        .with("seed", config.seed)
        .with("training samples", run.datasets.train.len())
        .with("validation samples", run.datasets.validation.map_or(0, |dataset| dataset.len()))
        .with("test samples", run.datasets.test.map_or(0, |dataset| dataset.len()))
        .with("resize", format!("{:?}", config.preprocess.resize))
        .with("normalization", format!("{:?}", config.preprocess.normalize))
}

fn machine(run: &Run) -> FactGroup {
    let versions = versions();
    FactGroup::new("Machine and versions")
        .with("device", device_name(run.vs.device()))
        .with("threads", versions.threads)
        .with("instruction set", versions.cpu_capability)
        .with("libtorch", versions.libtorch)
        .with("densenet", versions.densenet)
}

/// The first images of a data set under their true and predicted classes; none where samples are no images.
fn images(dataset: &dyn Dataset, predicted: &[ClassPrediction]) -> Result<Vec<LabeledImage>> {
    let &[channels, height, width] = dataset.sample_shape() else { return Ok(Vec::new()) };
    let key = |index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation };
    let keys: Vec<SampleKey> = (0..predicted.len()).map(key).collect();
    if keys.is_empty() || !matches!(channels, 1 | 3) {
        return Ok(Vec::new());
    }
    let batch = dataset.fetch(&keys)?;
    let Targets::Classes(truths) = &batch.targets else { return Ok(Vec::new()) };
    let name = |class: usize| dataset.classes().get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    let pixels = bytes(&batch);
    let labeled = truths.iter().zip(predicted).zip(pixels.chunks_exact(channels * height * width));
    labeled
        .map(|((&truth, predicted), pixels)| {
            Ok(LabeledImage {
                image: Image::new([channels, height, width], pixels.to_vec())?,
                truth: name(truth as usize),
                predicted: predicted.class.map_or_else(|| "none".to_owned(), name),
                right: predicted.class == Some(truth as usize),
                probability: predicted.class.map(|_| predicted.probability),
            })
        })
        .collect()
}

/// The values as bytes: from the least to the greatest of the batch where they are not bytes already.
fn bytes(batch: &Batch) -> Vec<u8> {
    match &batch.values {
        Values::U8(bytes) => bytes.clone(),
        Values::F32(values) => {
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
            let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
            values.iter().map(|value| ((value - low) * scale) as u8).collect()
        }
    }
}
