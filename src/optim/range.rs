//! The check that a number is in its range.

use crate::{Error, Result};

/// Returns an error where a number is not finite or not in range.
pub(super) fn check(field: &'static str, value: f64, valid: bool, expected: &'static str) -> Result<()> {
    if value.is_finite() && valid {
        return Ok(());
    }
    Err(Error::invalid_value(field, value, expected))
}
