//! The history of a run as a CSV or JSON file.

use crate::metrics::Metrics;
use crate::train::{Callback, EpochRecord, Event, History, Run};
use crate::{Result, files};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Writes the history of a run to a file after every epoch, atomically, so that the file is always complete.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    /// Formats the file's text from a history and the names of the run's metrics.
    format: fn(&History, &[String]) -> String,
}

impl HistoryFile {
    /// Creates a CSV file: a line of column names, then a line per epoch.
    ///
    /// The columns are `epoch`, then every metric of the training, the validation and the test set (`train_loss`,
    /// `train_accuracy`, …, `test_accuracy`, …), `learning_rate`, `train_seconds`, `evaluation_seconds`,
    /// `images_per_second`, `skipped_steps` and `skipped_samples`. A value that a run does not have is an empty cell.
    pub fn csv(path: impl Into<PathBuf>) -> Self {
        HistoryFile { path: path.into(), format: csv }
    }

    /// Creates a file of JSON Lines: one [`EpochRecord`] per line.
    pub fn json_lines(path: impl Into<PathBuf>) -> Self {
        HistoryFile { path: path.into(), format: json_lines }
    }
}

impl Callback for HistoryFile {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        if let Event::FitStarted | Event::EpochEnded { .. } = event {
            files::replace(&self.path, (self.format)(run.history, &run.metric_names()).as_bytes())?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

type Set = (&'static str, fn(&EpochRecord) -> Option<&Metrics>);

const SETS: [Set; 3] =
    [("train", |r| Some(&r.train)), ("validation", |r| r.validation.as_ref()), ("test", |r| r.test.as_ref())];

type Column = (&'static str, fn(&EpochRecord) -> f64);

const LAST_COLUMNS: [Column; 6] = [
    ("learning_rate", |r| r.learning_rate),
    ("train_seconds", |r| r.train_seconds),
    ("evaluation_seconds", |r| r.evaluation_seconds),
    ("images_per_second", EpochRecord::samples_per_second),
    ("skipped_steps", |r| r.skipped_steps as f64),
    ("skipped_samples", |r| r.skipped_samples as f64),
];

fn csv(history: &History, metrics: &[String]) -> String {
    let mut names = vec!["epoch".to_owned()];
    names.extend(SETS.iter().flat_map(|(set, _)| metrics.iter().map(move |metric| format!("{set}_{metric}"))));
    names.extend(LAST_COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    let rows = history.epochs.iter().map(|record| {
        let mut cells = vec![record.epoch.to_string()];
        for (_, of) in SETS {
            let value = |metric: &String| of(record).and_then(|set| set.get(metric));
            cells.extend(metrics.iter().map(|metric| value(metric).map_or_else(String::new, |v| v.to_string())));
        }
        cells.extend(LAST_COLUMNS.iter().map(|(_, value)| value(record).to_string()));
        cells.join(",")
    });
    [names.join(",")].into_iter().chain(rows).map(|line| line + "\n").collect()
}

fn json_lines(history: &History, _metrics: &[String]) -> String {
    let line = |record| serde_json::to_string(record).expect("a record is plain data") + "\n";
    history.epochs.iter().map(line).collect()
}
