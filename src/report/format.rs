//! Human-readable durations and large numbers.

use std::time::Duration;

/// Formats a duration in one or two units: "4.2 s", "45 s", "12 min", "3 h 20 min", "2 d 5 h".
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let minutes = (seconds / 60.0).round() as u64;
    let hours = (seconds / 3600.0).round() as u64;
    match seconds {
        ..9.95 => format!("{seconds:.1} s"),
        ..99.5 => format!("{seconds:.0} s"),
        ..5970.0 => format!("{minutes} min"),
        ..172_770.0 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Formats an integer with a narrow no-break space between thousands, from 10,000 on.
#[cfg(feature = "report")]
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_to_what_a_person_wants_to_know() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (9.96, "10 s"),
            (45.2, "45 s"),
            (99.6, "2 min"),
            (719.0, "12 min"),
            (5999.0, "1 h 40 min"),
            (7199.0, "2 h 0 min"),
            (12_010.0, "3 h 20 min"),
            (172_799.0, "2 d 0 h"),
            (190_000.0, "2 d 5 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[cfg(feature = "report")]
    #[test]
    fn thousands_are_grouped_from_ten_thousand_on() {
        assert_eq!(thousands(1234), "1234");
        assert_eq!(thousands(7_978_856), "7\u{202f}978\u{202f}856");
    }
}
