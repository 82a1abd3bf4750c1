//! The curves of a run: which ones there are, their names and colors.

use crate::metrics::Metrics;
use crate::train::{EpochRecord, History};

/// What a curve measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Loss,
    Accuracy,
}

impl Quantity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Quantity::Loss => "loss",
            Quantity::Accuracy => "accuracy",
        }
    }
}

/// The samples that a curve is about. Each has a marker of its own, so that curves differ without their colors too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Validation,
    Test,
}

/// One curve.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) quantity: Quantity,
    pub(super) part: Part,
    pub(super) color: [u8; 3],
    /// Epochs and values; `None` where there is no value, or none that is finite.
    pub(super) points: Vec<(usize, Option<f64>)>,
}

impl Series {
    /// The color as CSS writes it.
    pub(super) fn css_color(&self) -> String {
        let [r, g, b] = self.color;
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

/// The curves that a history has: train loss, train accuracy and test accuracy, and those of a validation split. Where no
/// accuracy is known, as in a regression, the test loss stands in for it.
pub(super) fn of(history: &History) -> Vec<Series> {
    use {Part::*, Quantity::*};
    let losses = |metrics: Option<&Metrics>| metrics.map(Metrics::loss);
    let accuracies = |metrics: Option<&Metrics>| metrics.and_then(Metrics::accuracy);
    let has_accuracy = history.epochs.iter().any(|record| accuracies(record.test.as_ref()).is_some());

    let curve = |name, quantity, part, color| {
        let value = |record: &EpochRecord| {
            let scores = match part {
                Train => Some(&record.train),
                Validation => record.validation.as_ref(),
                Test => record.test.as_ref(),
            };
            let value = match quantity {
                Loss => losses(scores),
                Accuracy => accuracies(scores),
            };
            value.filter(|value| value.is_finite())
        };
        let points = history.epochs.iter().map(|record| (record.epoch, value(record))).collect();
        Series { name, quantity, part, color, points }
    };
    let mut curves = vec![
        curve("train loss", Loss, Train, [194, 65, 12]),
        curve("validation loss", Loss, Validation, [161, 98, 7]),
        curve("train acc", Accuracy, Train, [29, 78, 216]),
        curve("validation acc", Accuracy, Validation, [126, 34, 206]),
        curve("test acc", Accuracy, Test, [4, 120, 87]),
    ];
    if !has_accuracy {
        curves.push(curve("test loss", Loss, Test, [4, 120, 87]));
    }
    let split = history.epochs.iter().any(|record| record.validation.is_some());
    curves.retain(|curve| curve.part != Validation || split);
    let tested = history.epochs.iter().any(|record| record.test.is_some());
    curves.retain(|curve| curve.part != Test || tested);
    // A history without epochs has no curve, and one without accuracies none of them.
    curves.retain(|curve| match curve.quantity {
        Loss => !curve.points.is_empty(),
        Accuracy => curve.points.iter().any(|point| point.1.is_some()),
    });
    curves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::examples;

    fn names(history: &History) -> Vec<&'static str> {
        of(history).iter().map(|curve| curve.name).collect()
    }

    #[test]
    fn a_classifier_has_three_curves_and_a_split_adds_two() {
        let mut history = examples::history(3);
        assert_eq!(names(&history), ["train loss", "train acc", "test acc"]);
        history.epochs[1].validation = history.epochs[1].test.clone();
        assert_eq!(names(&history), ["train loss", "validation loss", "train acc", "validation acc", "test acc"]);
        assert_eq!(
            of(&history)[1].points,
            [(1, None), (2, Some(history.epochs[1].test.as_ref().unwrap().loss())), (3, None)]
        );
    }

    #[test]
    fn a_regression_shows_its_losses() {
        assert_eq!(names(&examples::regression(2)), ["train loss", "test loss"]);
        assert!(names(&History::default()).is_empty());
    }

    #[test]
    fn a_value_that_is_no_number_is_a_gap() {
        let mut history = examples::history(2);
        examples::set(&mut history.epochs[0].train, "loss", f64::NAN);
        assert_eq!(of(&history)[0].points, [(1, None), (2, Some(history.epochs[1].train.loss()))]);
    }
}
