//! Round numbers along an axis.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// One of 1, 2 and 5 times a power of ten: the smallest that cuts `span` into at most `most` pieces.
pub(super) fn step(span: f64, most: usize) -> f64 {
    let least = span / most as f64;
    let power = 10f64.powf(least.log10().floor());
    // A least step that is round already may come out a rounding error above itself.
    [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Epochs to label between two epochs, so that there are at most about `most`.
pub(super) fn epochs(first: usize, last: usize, most: usize) -> Vec<usize> {
    let step = step(last.saturating_sub(first).max(1) as f64, most).max(1.0) as usize;
    (first..=last).filter(|epoch| epoch.is_multiple_of(step)).collect()
}

/// Values to label on an axis, and how many decimals they need.
#[derive(Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) values: Vec<f64>,
    pub(super) decimals: usize,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        low + (f64::from(high - low) * share).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.values.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let large = self.from.abs().max(self.to.abs());
        if (large < 1e6 && self.decimals <= 6) || *value == 0.0 {
            format!("{value:.*}", self.decimals.min(6))
        } else {
            format!("{value:.1e}")
        }
    }
}

/// An axis that shows all of `values`, with some air, and never more than `limits`.
///
/// A single value gets a span too.
pub(super) fn axis(values: impl Iterator<Item = f64>, limits: (f64, f64), most: usize) -> Axis {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    let air = (0.06 * (high - low)).max(0.02 * high.abs());
    let air = if air > 0.0 { air } else { 1.0 };
    let (from, to) = ((low - air).max(limits.0.min(low)), (high + air).min(limits.1.max(high)));
    let step = step(to - from, most);
    let values = ((from / step).ceil() as i64..=(to / step).floor() as i64).map(|n| n as f64 * step).collect();
    Axis { from, to, values, decimals: (-step.log10().floor()).clamp(0.0, 12.0) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (span, most, expected) in [(1.0, 10, 0.1), (0.9, 5, 0.2), (299.0, 10, 50.0), (7.0, 2, 5.0), (9.9, 1, 10.0)]
        {
            let got = step(span, most);
            assert!((got / expected - 1.0).abs() < 1e-9, "{span} in {most}: {got}");
        }
    }

    #[test]
    fn epochs_are_whole_and_few() {
        assert_eq!(epochs(1, 1, 10), [1]);
        assert_eq!(epochs(1, 3, 10), [1, 2, 3]);
        assert_eq!(epochs(1, 10, 10), (1..=10).collect::<Vec<_>>());
        assert_eq!(epochs(1, 300, 10), [50, 100, 150, 200, 250, 300]);
        assert_eq!(epochs(7, 7, 10), [7]);
    }

    #[test]
    fn an_axis_holds_its_values_and_stays_in_its_limits() {
        let accuracy = axis([0.81, 0.999].into_iter(), (0.0, 1.0), 5);
        assert!(accuracy.from < 0.81 && accuracy.to == 1.0, "{accuracy:?}");
        assert_eq!(accuracy.decimals, 2);
        assert!((2..=6).contains(&accuracy.values.len()), "{accuracy:?}");
    }

    #[test]
    fn an_axis_of_one_value_or_none_has_a_span() {
        for values in [vec![], vec![0.0], vec![0.5], vec![1.0, 1.0], vec![-2.0], vec![1e-9], vec![1e20]] {
            let axis = axis(values.iter().copied(), (f64::NEG_INFINITY, f64::INFINITY), 5);
            assert!(axis.from < axis.to, "{values:?}: {axis:?}");
            assert!(!axis.values.is_empty() && axis.values.len() < 10, "{values:?}: {axis:?}");
        }
    }
}
