//! Formats of numbers in reports. A value that is not finite is shown as missing; "NaN" is never printed.

pub(super) use crate::report::format::thousands;

use crate::report::format::duration;
use std::time::Duration;

/// The text for a missing value.
pub(super) const ABSENT: &str = "–";

/// Formats a loss or a share with three decimals; very small and very large ones with an exponent.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        "not finite".to_owned()
    } else if value == 0.0 || (0.001..10_000.0).contains(&value.abs()) {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

/// Formats like [`number`]; a dash for `None`.
pub(super) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), number)
}

/// Formats a share from 0 to 1 in percent.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0} %", 100.0 * share) } else { ABSENT.to_owned() }
}

/// Formats a learning rate with four significant digits.
pub(super) fn rate(value: f64) -> String {
    if !value.is_finite() {
        return "not finite".to_owned();
    }
    let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if short == 0.0 || short.abs() >= 1e-4 { short.to_string() } else { format!("{short:e}") }
}

/// Formats seconds in one or two units.
pub(super) fn seconds(value: f64) -> String {
    Duration::try_from_secs_f64(value).map_or_else(|_| ABSENT.to_owned(), duration)
}

/// Formats a rate per second; a dash where the time is 0.
pub(super) fn per_second(count: usize, seconds: f64) -> String {
    let value = count as f64 / seconds;
    match value {
        _ if !value.is_finite() || value < 0.0 => ABSENT.to_owned(),
        100.0.. => thousands(value.round() as u64),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_not_printed_as_one() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(number(value), "not finite");
            assert_eq!(rate(value), "not finite");
            assert_eq!(percent(value), ABSENT);
            assert_eq!(seconds(value), ABSENT);
        }
        assert_eq!(optional(None), ABSENT);
        assert_eq!(per_second(0, 0.0), ABSENT);
        assert_eq!(per_second(5, 0.0), ABSENT);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.5117), "0.512");
        assert_eq!(number(0.0), "0.000");
        assert_eq!(number(-3.2e-7), "-3.20e-7");
        assert_eq!(rate(0.1), "0.1");
        assert_eq!(rate(0.09755282581475769), "0.09755");
        assert_eq!(rate(1e-5), "1e-5");
        assert_eq!(percent(0.614), "61 %");
        assert_eq!(seconds(59.94), "60 s");
        assert_eq!(per_second(2048, 4.0), "512");
        assert_eq!(per_second(3, 2.0), "1.5");
    }
}
