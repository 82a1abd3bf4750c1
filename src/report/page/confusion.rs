//! The confusion matrix in the form that the template shows.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use super::content::ReportContent;
use super::format;
use crate::metrics::ConfusionMatrix;

/// Largest number of classes of a matrix: a larger one is unreadable, and the most frequent mistakes are listed
/// instead.
const MOST_CLASSES: usize = 40;
/// Number of mistakes that are listed.
const MOST_MISTAKES: usize = 20;

/// A confusion matrix of at least one sample, with the names of its classes.
///
/// Classes come by reference, since that is how templates hand over values.
pub(super) struct Confusion<'a> {
    content: &'a ReportContent,
    matrix: &'a ConfusionMatrix,
}

/// One cell of the table.
pub(super) struct Cell {
    /// The number of samples.
    pub(super) count: u64,
    /// Percentage of the color in its mixture with the background.
    pub(super) shade: u64,
    /// The cell's class in the style sheet.
    pub(super) class: &'static str,
}

impl<'a> Confusion<'a> {
    pub(super) fn of(content: &'a ReportContent) -> Option<Self> {
        let matrix = content.confusion.as_ref().filter(|matrix| matrix.samples() > 0)?;
        Some(Confusion { content, matrix })
    }

    pub(super) fn classes(&self) -> Range<usize> {
        0..self.matrix.classes()
    }

    pub(super) fn name(&self, class: &usize) -> Cow<'a, str> {
        self.content.class_name(*class)
    }

    pub(super) fn is_readable(&self) -> bool {
        self.matrix.classes() <= MOST_CLASSES
    }

    /// Returns the columns: the predicted classes, and `None` where a sample has no prediction.
    pub(super) fn columns(&self) -> Vec<Option<usize>> {
        let unpredicted = self.classes().any(|truth| self.count(truth, None) > 0);
        self.classes().map(Some).chain(unpredicted.then_some(None)).collect()
    }

    fn count(&self, truth: usize, predicted: Option<usize>) -> u64 {
        let count = |class| self.matrix.count(truth, class);
        predicted.map_or_else(|| self.matrix.samples_of(truth) - self.classes().map(count).sum::<u64>(), count)
    }

    /// Returns the cell of a true class and a column.
    pub(super) fn cell(&self, truth: &usize, predicted: &Option<usize>) -> Cell {
        let (truth, predicted) = (*truth, *predicted);
        let (count, correct) = (self.count(truth, predicted), predicted == Some(truth));
        if count == 0 {
            return Cell { count, shade: 0, class: "none" };
        }
        let share = count as f64 / self.matrix.samples_of(truth) as f64;
        // The square root keeps rare mistakes visible.
        let shade = if correct { 0.1 + 0.8 * share } else { 0.06 + 0.84 * share.sqrt() };
        // Text on dark cells gets another color where the page's own is hard to read.
        let class = match (correct, shade > 0.7) {
            (true, false) => "correct",
            (true, true) => "correct strong",
            (false, false) => "wrong",
            (false, true) => "wrong strong",
        };
        Cell { count, shade: (100.0 * shade).round() as u64, class }
    }

    /// Returns the most frequent mistakes: the number of samples, their class and the predicted one.
    pub(super) fn mistakes(&self) -> Vec<(String, usize, usize)> {
        let pairs = self.classes().flat_map(|truth| self.classes().map(move |class| (truth, class)));
        let mistakes = pairs.filter(|(truth, class)| truth != class);
        let mut found: Vec<_> =
            mistakes.map(|(truth, class)| (self.matrix.count(truth, class), truth, class)).collect();
        found.retain(|mistake| mistake.0 > 0);
        found.sort_unstable_by_key(|&(count, truth, class)| (Reverse(count), truth, class));
        let shown = found.into_iter().take(MOST_MISTAKES);
        shown.map(|(count, truth, class)| (format::thousands(count), truth, class)).collect()
    }

    /// Returns the share of a class's samples with a correct prediction.
    pub(super) fn recall(&self, class: &usize) -> String {
        format::optional(self.matrix.recall(*class))
    }

    /// Returns the same share as a length in CSS.
    pub(super) fn bar(&self, class: &usize) -> String {
        format!("{:.1}%", 100.0 * self.matrix.recall(*class).unwrap_or(0.0))
    }

    /// Returns the share of the predictions of a class that are correct.
    pub(super) fn precision(&self, class: &usize) -> String {
        format::optional(self.matrix.precision(*class))
    }

    /// Returns the number of a class's samples.
    pub(super) fn samples(&self, class: &usize) -> String {
        format::thousands(self.matrix.samples_of(*class))
    }
}
