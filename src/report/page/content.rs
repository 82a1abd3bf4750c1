//! The contents of a report, as plain data.

use std::borrow::Cow;

use crate::data::Image;
use crate::metrics::ConfusionMatrix;

/// Everything that a report shows.
///
/// All but the title may be missing: a run that was stopped in its first epoch has no epochs, a regression has no
/// classes. The page and the images leave out what is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportContent {
    /// The heading of the page and of `curves.png`.
    pub(crate) title: String,
    /// The progress of the run.
    pub(crate) status: RunStatus,
    /// The finished epochs, oldest first.
    pub(crate) epochs: Vec<Epoch>,
    /// The names of the classes; a class without a name is shown by its number.
    pub(crate) classes: Vec<String>,
    /// The confusion matrix of the test set.
    pub(crate) confusion: Option<ConfusionMatrix>,
    /// Images of the test set with their predictions.
    pub(crate) images: Vec<LabeledImage>,
    /// Images of the test set with wrong predictions: by class, the most confident of each first.
    pub(crate) mistakes: Vec<LabeledImage>,
    /// Training images as the network sees them: augmented, mixed and preprocessed. Each row is one sample in several
    /// epochs.
    pub(crate) training: Vec<Vec<Image>>,
    /// The summary of the model's layers, shown in a monospaced font.
    pub(crate) summary: Option<String>,
    /// Tables of names and values, such as the configuration, in order.
    pub(crate) metadata: Vec<Metadata>,
}

impl ReportContent {
    /// Creates a report that shows nothing but its title.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        ReportContent { title: title.into(), ..ReportContent::default() }
    }

    /// Returns the name of a class, or its number where it has none.
    pub(super) fn class_name(&self, class: usize) -> Cow<'_, str> {
        match self.classes.get(class) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("class {class}")),
        }
    }
}

/// The progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunStatus {
    /// The run has not ended yet.
    #[default]
    Running,
    /// All epochs are complete.
    Finished,
    /// The run was stopped early.
    Stopped {
        /// The 1-based epoch in which it stopped.
        epoch: usize,
        /// The 1-based step of that epoch after which it stopped; 0 between two epochs.
        step: usize,
    },
    /// The run ended with an error.
    Failed {
        /// The 1-based epoch in which it failed.
        epoch: usize,
        /// The 1-based step of that epoch after which it failed; 0 before the first.
        step: usize,
        /// The message of the error.
        error: String,
    },
}

/// The results of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Epoch {
    /// The 1-based index of the epoch.
    pub(crate) epoch: usize,
    /// The values of all metrics over all splits, metrics in the order in which they are shown.
    pub(crate) values: Vec<MetricValue>,
    /// The learning rate of the epoch's last step.
    pub(crate) learning_rate: f64,
    /// Seconds spent training, without evaluation.
    pub(crate) train_seconds: f64,
    /// Seconds spent in evaluation.
    pub(crate) evaluation_seconds: f64,
    /// The number of training samples.
    pub(crate) train_samples: usize,
}

impl Epoch {
    /// Returns the value of a metric over a split, which may not be finite; `None` where it was not computed.
    pub(super) fn value(&self, metric: &str, split: Split) -> Option<f64> {
        self.values.iter().find(|value| value.split == split && value.metric == metric).map(|value| value.value)
    }
}

/// The value of one metric over one split.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricValue {
    /// The metric's name, such as "loss".
    pub(crate) metric: String,
    /// The samples over which it was computed.
    pub(crate) split: Split,
    /// Value of the metric.
    pub(crate) value: f64,
}

/// The samples over which a metric was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// The training samples, during training.
    Train,
    /// The validation samples, after the epoch.
    Validation,
    /// The test samples, after the epoch.
    Test,
}

impl Split {
    /// All splits, in the order of legends and columns.
    pub(super) const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// Returns the name that legends and columns show.
    pub(super) fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

/// An image of the test set with its true and its predicted class.
#[derive(Clone, Debug)]
pub(crate) struct LabeledImage {
    /// The image, of one or three channels and bytes.
    pub(crate) image: Image,
    /// The name of its class.
    pub(crate) truth: String,
    /// The name of the predicted class.
    pub(crate) predicted: String,
    /// Whether the prediction is correct; names alone may repeat.
    pub(crate) correct: bool,
    /// The predicted class's probability, from 0 to 1, where it is known.
    pub(crate) probability: Option<f64>,
}

/// What a report does with images of one or three channels and bytes.
pub(super) trait Shown {
    /// Returns the image.
    fn image(&self) -> &Image;

    /// Returns the height and the width in pixels.
    fn size(&self) -> (usize, usize) {
        let [_, height, width] = self.image().shape();
        (height, width)
    }

    /// Returns the pixels as red, green and blue, row by row.
    fn rgb(&self) -> Vec<[u8; 3]> {
        let (height, width) = self.size();
        let pixels = height * width;
        let plane = if self.image().shape()[0] == 1 { 0 } else { pixels };
        let byte = |at: usize| match self.image().values() {
            crate::data::Values::U8(bytes) => bytes[at],
            crate::data::Values::F32(values) => values[at] as u8,
        };
        (0..pixels).map(|at| [byte(at), byte(at + plane), byte(at + 2 * plane)]).collect()
    }

    /// Returns how many times larger the image becomes in a square of `side` pixels: an integer, at least 1.
    fn enlargement(&self, side: usize) -> usize {
        let (height, width) = self.size();
        (side / height.max(width)).max(1)
    }
}

impl Shown for LabeledImage {
    fn image(&self) -> &Image {
        &self.image
    }
}

impl Shown for Image {
    fn image(&self) -> &Image {
        self
    }
}

/// A table of names and values under a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// The heading above the table.
    pub(crate) title: String,
    /// Names and values, from top to bottom.
    pub(crate) rows: Vec<(String, String)>,
}

impl Metadata {
    /// Creates a table with a title.
    pub(crate) fn new<K: Into<String>, V: ToString>(
        title: impl Into<String>,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let rows = rows.into_iter().map(|(name, value)| (name.into(), value.to_string())).collect();
        Metadata { title: title.into(), rows }
    }
}

/// The curves of one metric, which share a pair of axes.
#[derive(Debug, PartialEq)]
pub(super) struct Panel<'a> {
    /// Name of the metric.
    pub(super) metric: &'a str,
    /// One curve for each split that has values.
    pub(super) curves: Vec<Curve>,
}

/// A metric over one split against the epoch.
#[derive(Debug, PartialEq)]
pub(super) struct Curve {
    /// The split that it belongs to.
    pub(super) split: Split,
    /// One value for each epoch; `None` where there is none that can be drawn.
    pub(super) values: Vec<Option<f64>>,
}

/// Returns the names of all metrics, in the order in which they first appear.
pub(super) fn metrics(epochs: &[Epoch]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for value in epochs.iter().flat_map(|epoch| &epoch.values) {
        if !names.contains(&value.metric.as_str()) {
            names.push(&value.metric);
        }
    }
    names
}

/// Returns one panel for each metric; curves and panels without a value that can be drawn are omitted.
pub(super) fn panels(epochs: &[Epoch]) -> Vec<Panel<'_>> {
    // The division of an axis of larger numbers would overflow.
    let drawable = |value: &f64| value.abs() < 1e30;
    let curve = |metric: &str, split| Curve {
        split,
        values: epochs.iter().map(|epoch| epoch.value(metric, split).filter(drawable)).collect(),
    };
    let panel = |metric| Panel {
        metric,
        curves: Split::ALL
            .map(|split| curve(metric, split))
            .into_iter()
            .filter(|curve| curve.values.iter().any(Option::is_some))
            .collect(),
    };
    metrics(epochs).into_iter().map(panel).filter(|panel| !panel.curves.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::examples;

    /// Returns the metrics with the splits that have curves.
    fn names(epochs: &[Epoch]) -> Vec<(&str, Vec<&str>)> {
        let splits = |panel: &Panel| panel.curves.iter().map(|curve| curve.split.name()).collect();
        panels(epochs).iter().map(|panel| (panel.metric, splits(panel))).collect()
    }

    #[test]
    fn each_metric_has_a_panel_with_a_curve_for_each_split() {
        let mut epochs = examples::epochs(3);
        assert_eq!(names(&epochs), [("loss", vec!["train", "test"]), ("accuracy", vec!["train", "test"])]);
        epochs[1].values.push(MetricValue { metric: "top5".into(), split: Split::Validation, value: 0.5 });
        assert_eq!(names(&epochs)[2], ("top5", vec!["validation"]));
        assert_eq!(panels(&epochs)[2].curves[0].values, [None, Some(0.5), None]);
    }

    #[test]
    fn a_regression_has_losses_only_and_no_epoch_no_panel() {
        assert_eq!(names(&examples::regression(2)), [("loss", vec!["train", "test"])]);
        assert!(panels(&[]).is_empty());
    }

    #[test]
    fn a_value_that_cannot_be_drawn_is_a_gap_and_a_curve_of_gaps_is_left_out() {
        let mut epochs = examples::epochs(4);
        for (epoch, value) in epochs.iter_mut().zip([f64::NAN, f64::INFINITY, f64::MAX, 0.25]) {
            epoch.values[0].value = value;
            epoch.values[1].value = f64::NAN;
        }
        assert_eq!(names(&epochs)[0], ("loss", vec!["train"]));
        assert_eq!(panels(&epochs)[0].curves[0].values, [None, None, None, Some(0.25)]);
        epochs[3].values[0].value = f64::NEG_INFINITY;
        assert_eq!(names(&epochs), [("accuracy", vec!["train", "test"])]);
    }
}
