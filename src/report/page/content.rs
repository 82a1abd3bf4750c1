//! What a report shows, as plain data.

use std::borrow::Cow;

use crate::metrics::ConfusionMatrix;
use crate::report::page::image::Image;
use crate::train::History;

/// What a report shows.
///
/// Everything but the title may be missing: a run that was stopped in its first epoch has an empty history, a regression
/// has no classes. What is missing is left out of the page.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReportContent {
    /// The heading of the page.
    pub title: String,
    /// How far the run is.
    pub status: RunStatus,
    /// The finished epochs.
    pub history: History,
    /// The names of the classes; where they are fewer than the confusion matrix has, the rest are numbered.
    pub classes: Vec<String>,
    /// How often each class was taken for each other, over the test set.
    pub confusion: Option<ConfusionMatrix>,
    /// Test images and what was predicted for them.
    pub images: Vec<LabeledImage>,
    /// The layers of the model, as text that is set in one width.
    pub summary: Option<String>,
    /// Configuration, versions, machine: one table a group, in this order.
    pub facts: Vec<FactGroup>,
}

impl ReportContent {
    /// A report that shows nothing but its title.
    pub fn new(title: impl Into<String>) -> Self {
        ReportContent {
            title: title.into(),
            status: RunStatus::Running,
            history: History::default(),
            classes: Vec::new(),
            confusion: None,
            images: Vec::new(),
            summary: None,
            facts: Vec::new(),
        }
    }

    /// The name of a class, or its number where it has none.
    pub(super) fn class_name(&self, class: usize) -> Cow<'_, str> {
        match self.classes.get(class) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("class {class}")),
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Epochs are still to come.
    Running,
    /// All epochs are done.
    Finished,
    /// The run ended before its last epoch did.
    Stopped {
        /// The epoch in which it stopped, from 1.
        epoch: usize,
        /// The step of that epoch after which it stopped, from 1.
        step: usize,
    },
}

/// An image of the test set, with its class and the predicted one.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledImage {
    /// The image.
    pub image: Image,
    /// The name of its class.
    pub truth: String,
    /// The name of the predicted class.
    pub predicted: String,
    /// Whether the two are the same class; names alone may repeat.
    pub right: bool,
    /// The predicted class's probability, from 0 to 1, where it is known.
    pub probability: Option<f64>,
}

/// A headed table of names and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactGroup {
    /// What stands above the table: "Configuration", "Machine".
    pub heading: String,
    /// Names and values, top to bottom.
    pub facts: Vec<(String, String)>,
}

impl FactGroup {
    /// A group without facts.
    pub fn new(heading: impl Into<String>) -> Self {
        FactGroup { heading: heading.into(), facts: Vec::new() }
    }

    /// Adds a line at the end.
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.facts.push((name.into(), value.to_string()));
        self
    }
}
