//! The confusion matrix: how often samples of each class were predicted as each class.

use serde::{Deserialize, Serialize};

/// Counts of (true class, predicted class) pairs.
///
/// A prediction may be absent (`None`): a row of logits with NaN has no largest one. It counts as wrong, and in no
/// column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    /// Row-major: `counts[truth * classes + predicted]`.
    counts: Vec<u64>,
    /// Samples without a prediction, by true class.
    unpredicted: Vec<u64>,
}

impl ConfusionMatrix {
    /// Creates an empty matrix for `classes` classes.
    pub fn new(classes: usize) -> Self {
        ConfusionMatrix { classes, counts: vec![0; classes * classes], unpredicted: vec![0; classes] }
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one sample by its true and its predicted class.
    ///
    /// # Panics
    ///
    /// If a class is not below [`classes`](Self::classes).
    pub fn add(&mut self, truth: usize, predicted: Option<usize>) {
        assert!(truth < self.classes, "class {truth} of {}", self.classes);
        match predicted {
            Some(predicted) => {
                assert!(predicted < self.classes, "class {predicted} of {}", self.classes);
                self.counts[truth * self.classes + predicted] += 1;
            }
            None => self.unpredicted[truth] += 1,
        }
    }

    /// Returns the number of samples of class `truth` that were predicted as `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// Returns the number of samples of class `truth`.
    pub fn samples_of(&self, truth: usize) -> u64 {
        self.counts[truth * self.classes..][..self.classes].iter().sum::<u64>() + self.unpredicted[truth]
    }

    /// Returns the number of all samples.
    pub fn samples(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.unpredicted.iter().sum::<u64>()
    }

    /// Returns the share of samples that were predicted correctly; `None` without samples.
    pub fn accuracy(&self) -> Option<f64> {
        let correct: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio(correct, self.samples())
    }

    /// Returns the share of samples of class `truth` that were predicted correctly; `None` where there are none.
    pub fn recall(&self, truth: usize) -> Option<f64> {
        ratio(self.count(truth, truth), self.samples_of(truth))
    }

    /// Returns the share of predictions of class `predicted` that were correct; `None` where there are none.
    pub fn precision(&self, predicted: usize) -> Option<f64> {
        ratio(self.count(predicted, predicted), (0..self.classes).map(|truth| self.count(truth, predicted)).sum())
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_classes_and_a_missing_prediction_is_wrong() {
        let mut matrix = ConfusionMatrix::new(2);
        for (truth, predicted) in [(0, Some(0)), (0, Some(1)), (1, Some(1)), (0, None)] {
            matrix.add(truth, predicted);
        }
        assert_eq!(matrix.count(0, 1), 1);
        assert_eq!(matrix.samples(), 4);
        assert_eq!(matrix.accuracy(), Some(0.5));
        assert_eq!(matrix.recall(0), Some(1.0 / 3.0));
        assert_eq!(matrix.precision(1), Some(0.5));
    }

    #[test]
    fn accuracy_of_nothing_is_none() {
        assert_eq!(ConfusionMatrix::new(3).accuracy(), None);
    }
}
