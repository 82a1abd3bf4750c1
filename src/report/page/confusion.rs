//! The confusion matrix and the accuracy of each class, as the page shows them.

use super::content::ReportContent;
use super::format;
use crate::metrics::ConfusionMatrix;

/// With more classes than this a matrix is unreadable; the most frequent mistakes are listed in its place.
const MOST_CLASSES: usize = 40;
/// How many mistakes are listed.
const MOST_MISTAKES: usize = 20;

/// The confusion matrix as a table.
pub(super) struct Matrix {
    /// The names of the predicted classes, and of the samples without a prediction where there are any.
    pub(super) columns: Vec<String>,
    /// One row for each true class.
    pub(super) rows: Vec<Row>,
}

/// The samples of one true class.
pub(super) struct Row {
    /// The name of the class.
    pub(super) name: String,
    /// One cell for each column.
    pub(super) cells: Vec<Cell>,
}

/// The samples of one true class with one prediction.
pub(super) struct Cell {
    /// The number of samples.
    pub(super) count: u64,
    /// How much of the color is mixed into the background, in percent.
    pub(super) shade: u64,
    /// The cell's class in the style sheet.
    pub(super) class: &'static str,
}

/// A pair of classes that the model mistakes for each other.
pub(super) struct Mistake {
    /// The name of the true class.
    pub(super) truth: String,
    /// The name of the predicted class.
    pub(super) predicted: String,
    /// The number of samples, as text.
    pub(super) count: String,
}

/// How well one class was predicted.
pub(super) struct ClassAccuracy {
    /// The name of the class.
    pub(super) name: String,
    /// The length of the bar, in percent.
    pub(super) bar: f64,
    /// The share of the class's samples with a correct prediction, as text.
    pub(super) recall: String,
    /// The share of the predictions of this class that are correct, as text.
    pub(super) precision: String,
    /// The number of samples, as text.
    pub(super) samples: String,
}

/// Returns the matrix as a table; `None` without samples and with too many classes.
pub(super) fn matrix(content: &ReportContent) -> Option<Matrix> {
    let matrix = counted(content).filter(|matrix| matrix.classes() <= MOST_CLASSES)?;
    let classes = || 0..matrix.classes();
    let name = |class| content.class_name(class).into_owned();
    let unpredicted = |truth| matrix.samples_of(truth) - classes().map(|class| matrix.count(truth, class)).sum::<u64>();
    let any_unpredicted = classes().any(|truth| unpredicted(truth) > 0);

    let mut columns: Vec<_> = classes().map(name).collect();
    columns.extend(any_unpredicted.then(|| "no prediction".to_owned()));
    let row = |truth| {
        let samples = matrix.samples_of(truth);
        let mut cells: Vec<_> =
            classes().map(|class| cell(matrix.count(truth, class), samples, truth == class)).collect();
        cells.extend(any_unpredicted.then(|| cell(unpredicted(truth), samples, false)));
        Row { name: name(truth), cells }
    };
    Some(Matrix { columns, rows: classes().map(row).collect() })
}

fn cell(count: u64, samples: u64, correct: bool) -> Cell {
    if count == 0 {
        return Cell { count, shade: 0, class: "none" };
    }
    let share = count as f64 / samples as f64;
    // The square root keeps rare mistakes visible.
    let shade = if correct { 0.1 + 0.8 * share } else { 0.06 + 0.84 * share.sqrt() };
    // Letters on the color change from where the page's own get hard to read.
    let class = match (correct, shade > 0.7) {
        (true, false) => "correct",
        (true, true) => "correct strong",
        (false, false) => "wrong",
        (false, true) => "wrong strong",
    };
    Cell { count, shade: (100.0 * shade).round() as u64, class }
}

/// Returns the most frequent mistakes, where there are too many classes for a matrix.
pub(super) fn mistakes(content: &ReportContent) -> Vec<Mistake> {
    let Some(matrix) = counted(content).filter(|matrix| matrix.classes() > MOST_CLASSES) else { return Vec::new() };
    let classes = || 0..matrix.classes();
    let pairs = classes().flat_map(|truth| classes().map(move |class| (truth, class)));
    let mistakes = pairs.filter(|(truth, class)| truth != class);
    let mut found: Vec<_> = mistakes.map(|(truth, class)| (matrix.count(truth, class), truth, class)).collect();
    found.retain(|mistake| mistake.0 > 0);
    found.sort_unstable_by_key(|&(count, truth, class)| (std::cmp::Reverse(count), truth, class));
    let mistake = |&(count, truth, class): &(u64, usize, usize)| Mistake {
        truth: content.class_name(truth).into_owned(),
        predicted: content.class_name(class).into_owned(),
        count: format::thousands(count),
    };
    found.iter().take(MOST_MISTAKES).map(mistake).collect()
}

/// Returns the accuracy of each class; nothing without samples.
pub(super) fn classes(content: &ReportContent) -> Vec<ClassAccuracy> {
    let Some(matrix) = counted(content) else { return Vec::new() };
    let class = |class| ClassAccuracy {
        name: content.class_name(class).into_owned(),
        bar: 100.0 * matrix.recall(class).unwrap_or(0.0),
        recall: format::optional(matrix.recall(class)),
        precision: format::optional(matrix.precision(class)),
        samples: format::thousands(matrix.samples_of(class)),
    };
    (0..matrix.classes()).map(class).collect()
}

fn counted(content: &ReportContent) -> Option<&ConfusionMatrix> {
    content.confusion.as_ref().filter(|matrix| matrix.samples() > 0)
}
