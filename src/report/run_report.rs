//! The callback that writes a run's page and images.

use super::page::content::{Epoch, LabeledImage, Metadata, MetricValue, ReportContent, RunStatus, Split};
use super::page::{curves, html, predictions};
use super::report_images::{FIRST, labeled, mistakes, training};
use crate::data::{Dataset, Image, Subset};
use crate::metrics::{ClassPrediction, ConfusionMatrix};
use crate::torch::{Versions, device_name};
use crate::train::{Callback, EpochRecord, Event, Outcome, Run};
use crate::{Result, files};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Writes `report.html`, `curves.png` and `predictions.png` into a folder, after every epoch and at the end of the run.
///
/// The page shows the curves of each metric against the epoch, the first test images with their true and predicted
/// classes, the most confident mistakes of each class, the confusion matrix, the accuracy of each class, training images
/// as the network sees them, the configuration and the metadata that was added. It is a single file that needs no
/// network, of about 100 kB and the images, which are shrunk to at most 128 pixels. Parts that a run does not have, such as classes or images, are
/// omitted.
///
/// ```
/// use densenet::report::Report;
///
/// let report = Report::in_folder("runs/shoes")
///     .with_title("Shoes, second try")
///     .with_metadata("Data", [("source", "photos of May"), ("classes", "12")]);
/// # let _ = report;
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    folder: PathBuf,
    title: String,
    summary: Option<String>,
    metadata: Vec<Metadata>,
    confusion: Option<ConfusionMatrix>,
    predictions: Vec<Option<ClassPrediction>>,
    mistakes: Vec<LabeledImage>,
    training: Vec<Vec<Image>>,
    /// Whether the folder was found writable.
    is_started: bool,
}

impl Report {
    /// Creates a report that is written into this folder, which has to exist when the run starts.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Report {
            folder: folder.into(),
            title: "Training run".to_owned(),
            summary: None,
            metadata: Vec::new(),
            confusion: None,
            predictions: Vec::new(),
            mistakes: Vec::new(),
            training: Vec::new(),
            is_started: false,
        }
    }

    /// Sets the heading of the page and of `curves.png`; "Training run" by default.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds the model's summary, or another description of its layers, in a monospaced font.
    #[must_use]
    pub fn with_summary(mut self, summary: impl ToString) -> Self {
        self.summary = Some(summary.to_string());
        self
    }

    /// Adds a table of names and values under a title of its own, after the tables of the configuration and the
    /// machine.
    #[must_use]
    pub fn with_metadata<K: Into<String>, V: ToString>(
        mut self,
        title: impl Into<String>,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.metadata.push(Metadata::new(title, rows));
        self
    }

    fn write(&self, status: RunStatus, run: &Run) -> Result<()> {
        let mut content = ReportContent::new(&self.title);
        content.status = status;
        content.epochs = run.history.epochs.iter().map(epoch).collect();
        content.classes = run.datasets.train.classes().to_vec();
        content.confusion = self.confusion.clone();
        let first: Vec<usize> = (0..self.predictions.len()).collect();
        content.images = labeled(shown(run), &first, &self.predictions)?;
        content.mistakes = self.mistakes.clone();
        content.training = self.training.clone();
        content.summary = self.summary.clone();
        content.metadata = vec![configuration(run), machine(run)];
        content.metadata.extend(self.metadata.iter().cloned());
        curves::write(&content, &self.folder.join("curves.png"))?;
        predictions::write(&content, &self.folder.join("predictions.png"))?;
        html::write(&content, &self.folder.join("report.html"))
    }
}

impl Callback for Report {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => {
                files::check_writable(&self.folder.join("report.html"))?;
                self.is_started = true;
                // A sample that cannot be read now must not cost the whole report.
                self.training = training(run).unwrap_or_default();
            }
            Event::EpochEnded { test, validation, .. } => {
                if let Some(evaluation) = test.or(*validation) {
                    self.confusion = evaluation.confusion.clone();
                    self.predictions = evaluation.predictions.iter().take(FIRST).copied().collect();
                    self.mistakes = mistakes(shown(run), evaluation)?;
                }
                self.write(RunStatus::Running, run)?;
            }
            Event::FitEnded { outcome: Outcome::Finished } => self.write(RunStatus::Finished, run)?,
            Event::FitEnded { outcome: Outcome::EndedEarly | Outcome::Interrupted } => {
                if run.step > 0 {
                    // The weights have changed since the last evaluation; the images show the current predictions.
                    let first = Subset::first(shown(run), FIRST);
                    self.predictions = run.evaluate(&first)?.predictions;
                }
                self.write(RunStatus::Stopped { epoch: run.epoch, step: run.step }, run)?;
            }
            Event::FitFailed { error } => {
                let error = error.with_causes();
                self.write(RunStatus::Failed { epoch: run.epoch, step: run.step, error }, run)?;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A run can do without its report, once it has started.
    fn is_essential(&self) -> bool {
        !self.is_started
    }
}

/// Returns the data set whose first images are shown: the test set, else the validation set, else the training set.
fn shown<'a>(run: &Run<'a>) -> &'a dyn Dataset {
    let sets = run.datasets;
    sets.test.or(sets.validation).unwrap_or(sets.train)
}

/// Converts an epoch's record of the trainer's history to that of the page.
fn epoch(record: &EpochRecord) -> Epoch {
    let splits = [
        (Split::Train, Some(&record.train)),
        (Split::Validation, record.validation.as_ref()),
        (Split::Test, record.test.as_ref()),
    ];
    let values = record.train.iter().flat_map(|(metric, _)| {
        splits.iter().filter_map(move |&(split, metrics)| {
            Some(MetricValue { metric: metric.to_owned(), split, value: metrics?.get(metric)? })
        })
    });
    Epoch {
        epoch: record.epoch,
        values: values.collect(),
        learning_rate: record.learning_rate,
        train_seconds: record.train_seconds,
        evaluation_seconds: record.evaluation_seconds,
        train_samples: record.train.samples,
    }
}

fn configuration(run: &Run) -> Metadata {
    let (config, sets) = (run.config, run.datasets);
    let none = || "none".to_owned();
    let count = |set: Option<&dyn Dataset>| set.map_or_else(none, |set| set.len().to_string());
    let rows = [
        ("epochs", config.epochs.to_string()),
        ("batch size", config.batch_size.to_string()),
        ("learning rate", run.base_learning_rate.to_string()),
        ("schedule", format!("{:?}", config.schedule)),
        ("seed", config.seed.to_string()),
        ("training samples", sets.train.len().to_string()),
        ("validation samples", count(sets.validation)),
        ("test samples", count(sets.test)),
        ("resize", config.preprocess.resize.map_or_else(none, |[height, width]| format!("{height}×{width}"))),
        (
            "normalization",
            config
                .preprocess
                .normalize
                .as_ref()
                .map_or_else(none, |by| format!("mean {:?}, standard deviation {:?}", by.mean, by.std)),
        ),
    ];
    Metadata::new("Configuration", rows)
}

fn machine(run: &Run) -> Metadata {
    let versions = Versions::current();
    let rows = [
        ("device", device_name(run.vs.device())),
        ("threads", versions.threads.to_string()),
        ("instruction set", versions.cpu_capability.to_string()),
        ("libtorch", versions.libtorch.to_string()),
        ("densenet", versions.densenet.to_string()),
    ];
    Metadata::new("Machine and versions", rows)
}
