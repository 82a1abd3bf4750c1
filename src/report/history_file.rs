//! A run's history as a file.

use crate::train::{Callback, EpochRecord, Event, Flow, History, Run};
use crate::{Result, files};
use std::path::PathBuf;

/// Writes the finished epochs to a file, anew after each, so that it is whole at every moment.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    format: fn(&History) -> String,
}

impl HistoryFile {
    /// Comma-separated values: a line of names, then a line an epoch. What a run does not have stays empty.
    pub fn csv(path: impl Into<PathBuf>) -> Self {
        HistoryFile { path: path.into(), format: csv }
    }

    /// One JSON object a line, an [`EpochRecord`] each.
    pub fn json_lines(path: impl Into<PathBuf>) -> Self {
        HistoryFile { path: path.into(), format: json_lines }
    }
}

impl Callback for HistoryFile {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        if let Event::FitStarted | Event::EpochEnded { .. } = event {
            files::replace(&self.path, (self.format)(run.history).as_bytes())?;
        }
        Ok(Flow::Continue)
    }
}

type Column = (&'static str, fn(&EpochRecord) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("epoch", |r| Some(r.epoch as f64)),
    ("train_loss", |r| Some(r.train.loss)),
    ("train_accuracy", |r| r.train.accuracy),
    ("validation_loss", |r| r.validation.as_ref().map(|v| v.loss)),
    ("validation_accuracy", |r| r.validation.as_ref().and_then(|v| v.accuracy)),
    ("test_loss", |r| Some(r.test.loss)),
    ("test_accuracy", |r| r.test.accuracy),
    ("learning_rate", |r| Some(r.learning_rate)),
    ("train_seconds", |r| Some(r.train_seconds)),
    ("evaluation_seconds", |r| Some(r.evaluation_seconds)),
    ("images_per_second", |r| Some(r.samples_per_second())),
];

fn csv(history: &History) -> String {
    let names = COLUMNS.map(|(name, _)| name.to_owned());
    let rows = history.epochs.iter().map(|record| {
        COLUMNS.map(|(_, value)| value(record).map_or_else(String::new, |value| value.to_string())).join(",")
    });
    [names.join(",")].into_iter().chain(rows).map(|line| line + "\n").collect()
}

fn json_lines(history: &History) -> String {
    let line = |record| serde_json::to_string(record).expect("a record is plain data") + "\n";
    history.epochs.iter().map(line).collect()
}
