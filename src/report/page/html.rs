//! `report.html`: the report of a run in one file that needs no network.

use crate::error::IoError;
use std::path::Path;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::confusion::Confusion;
use super::content::{self, Epoch, LabeledImage, ReportContent, RunStatus, Shown, Split};
use super::{drawing, format};
use crate::data::Image;
use crate::{Error, Result, files};

/// The side of the square that an image is enlarged to fill, by an integer factor.
const SIDE: usize = 128;

/// Writes the page: curves, predictions, confusion matrix, accuracy of each class, epochs, metadata and summary.
///
/// The file includes everything that it needs, and its content security policy forbids the browser to fetch anything.
///
/// # Errors
///
/// [`IoError::Failed`] or [`IoError::DiskFull`] where the file cannot be written.
pub(crate) fn write(content: &ReportContent, path: &Path) -> Result<()> {
    let page = page(content).map_err(|error| {
        Error::Io(IoError::Failed { action: "write", path: path.to_owned(), source: std::io::Error::other(error) })
    })?;
    files::replace(path, page.as_bytes())
}

/// Renders the page from the template.
pub(super) fn page(content: &ReportContent) -> std::result::Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (state, status) = status(content);
    let page = Page {
        content,
        state,
        status,
        scores: scores(&content.epochs),
        curves: (!content.epochs.is_empty()).then(|| curves(&content.epochs)),
        wrong: content.images.iter().filter(|labeled| !labeled.correct).count(),
        images: encoded(&content.images)?,
        mistakes: encoded(&content.mistakes)?,
        training: content.training.iter().map(|row| encoded(row)).collect::<std::result::Result<_, _>>()?,
        confusion: Confusion::of(content),
        columns: columns(&content.epochs),
    };
    Ok(page.render()?)
}

/// Everything that the template shows.
#[derive(Template)]
#[template(path = "report.html", config = "src/report/page/askama.toml")]
struct Page<'a> {
    content: &'a ReportContent,
    /// The class of the status in the style sheet.
    state: &'static str,
    status: String,
    scores: Vec<Score>,
    /// The data of the curves for `report.js`; `None` before the first epoch.
    curves: Option<serde_json::Value>,
    wrong: usize,
    images: Encoded<'a, LabeledImage>,
    mistakes: Encoded<'a, LabeledImage>,
    training: Vec<Encoded<'a, Image>>,
    confusion: Option<Confusion<'a>>,
    /// The columns of the table of epochs: metrics over splits.
    columns: Vec<(&'a str, Split)>,
}

/// Images and their PNG files in base64.
type Encoded<'a, T> = Vec<(&'a T, String)>;

fn encoded<T: Shown>(images: &[T]) -> std::result::Result<Encoded<'_, T>, png::EncodingError> {
    let png = |image: &T| {
        let (height, width) = image.size();
        drawing::png((width, height), image.rgb().as_flattened()).map(|png| STANDARD.encode(png))
    };
    images.iter().map(|image| Ok((image, png(image)?))).collect()
}

impl Page<'_> {
    /// Whether training images are shown in several epochs.
    fn has_epochs_side_by_side(&self) -> bool {
        self.training.iter().any(|row| row.len() > 1)
    }

    fn probability(&self, labeled: &LabeledImage) -> Option<String> {
        labeled.probability.map(format::percent)
    }

    /// Returns the row of an epoch in the table of epochs.
    fn row(&self, epoch: &Epoch) -> Vec<String> {
        let mut row = vec![epoch.epoch.to_string()];
        row.extend(self.columns.iter().map(|&(metric, split)| format::optional(epoch.value(metric, split))));
        row.push(format::rate(epoch.learning_rate));
        row.push(format::seconds(epoch.train_seconds));
        row.push(format::seconds(epoch.evaluation_seconds));
        row.push(format::per_second(epoch.train_samples, epoch.train_seconds));
        row
    }
}

/// A number in the summary at the top of the page.
struct Score {
    name: String,
    value: String,
    /// The same metric over other splits.
    detail: String,
}

fn status(content: &ReportContent) -> (&'static str, String) {
    let epochs = match content.epochs.len() {
        0 => "no epoch".to_owned(),
        1 => "1 epoch".to_owned(),
        count => format!("{count} epochs"),
    };
    match &content.status {
        RunStatus::Running => ("running", format!("Running: {epochs} complete.")),
        RunStatus::Finished => ("finished", format!("Finished: {epochs} complete.")),
        RunStatus::Stopped { step: 0, .. } => ("stopped", format!("Stopped early: {epochs} complete.")),
        RunStatus::Failed { epoch, step, error } => {
            ("stopped", format!("Failed in epoch {epoch} after step {step}: {epochs} complete. {error}"))
        }
        RunStatus::Stopped { epoch, step } => {
            ("stopped", format!("Stopped in epoch {epoch} after step {step}: {epochs} complete."))
        }
    }
}

/// Returns the last value of each metric, over the test set where there is one, then times. The loss comes after other
/// metrics.
fn scores(epochs: &[Epoch]) -> Vec<Score> {
    let Some(last) = epochs.last() else { return Vec::new() };
    let mut metrics = content::metrics(epochs);
    metrics.sort_by_key(|metric| *metric == "loss");
    let mut scores: Vec<_> = metrics
        .into_iter()
        .filter_map(|metric| {
            let splits = Split::ALL.into_iter().rev();
            let mut values =
                splits.filter_map(|split| Some((split.name(), format::number(last.value(metric, split)?))));
            let (split, value) = values.next()?;
            let others: Vec<_> = values.map(|(split, value)| format!("{split} {value}")).collect();
            Some(Score { name: format!("{split} {metric}"), value, detail: others.join(", ") })
        })
        .collect();
    let seconds: f64 = epochs.iter().map(|epoch| epoch.train_seconds).sum();
    let samples = epochs.iter().map(|epoch| epoch.train_samples).sum();
    let speed = format!("{} samples/s", format::per_second(samples, seconds));
    scores.push(Score { name: "training time".to_owned(), value: format::seconds(seconds), detail: speed });
    scores
}

/// Returns epochs and curves in the form that `report.js` reads; a missing value is null.
pub(super) fn curves(epochs: &[Epoch]) -> serde_json::Value {
    let panels: Vec<_> = content::panels(epochs)
        .into_iter()
        .map(|panel| {
            let curves =
                panel.curves.iter().map(|curve| json!({ "split": curve.split.name(), "values": curve.values }));
            json!({ "metric": panel.metric, "curves": curves.collect::<Vec<_>>() })
        })
        .collect();
    json!({ "epochs": epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), "panels": panels })
}

/// Returns each metric with each split over which an epoch has it.
fn columns(epochs: &[Epoch]) -> Vec<(&str, Split)> {
    let columns = content::metrics(epochs).into_iter().flat_map(|metric| Split::ALL.map(|split| (metric, split)));
    columns.filter(|&(metric, split)| epochs.iter().any(|epoch| epoch.value(metric, split).is_some())).collect()
}
