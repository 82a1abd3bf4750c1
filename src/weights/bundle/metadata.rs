//! The text that describes a bundle in the metadata of its file.

use super::Bundle;
use super::json::{Unambiguous, unknown_key};
use crate::error::WeightsProblem;
use crate::{Error, Result};
use serde_json::{Value, json};

/// The key in the metadata.
pub(super) const KEY: &str = "densenet";
/// The version of the format. It changes where an older reader would predict something else.
const VERSION: u64 = 1;
/// Longest text in bytes.
const MAX_TEXT: usize = 4 << 20;

/// Returns the text, whose keys are sorted.
pub(super) fn text(bundle: &Bundle) -> Result<String> {
    let text = json!({ "version": VERSION, "bundle": bundle }).to_string();
    match text.len() {
        0..=MAX_TEXT => Ok(text),
        length => {
            let expected = "short enough for a description of at most 4 MiB";
            Err(Error::invalid_value("class names", format!("{length} bytes of JSON"), expected))
        }
    }
}

/// Reads the text of a file, whose version is compared first. The values are not checked.
pub(super) fn parse(text: &str) -> Result<Bundle, WeightsProblem> {
    let invalid = |problem: String| WeightsProblem::BundleMetadata(problem);
    if text.len() > MAX_TEXT {
        return Err(WeightsProblem::TooLarge {
            what: "the length of its description",
            value: text.len() as u64,
            limit: MAX_TEXT as u64,
        });
    }
    let Unambiguous(value) = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    match value.get("version").map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(found)) => return Err(WeightsProblem::BundleVersion { found, known: VERSION }),
        Some(None) => return Err(invalid("its version is no number of a version".to_owned())),
        None => return Err(invalid("it has no version".to_owned())),
    }
    let description = value.get("bundle").ok_or_else(|| invalid("it has no description".to_owned()))?;
    let bundle: Bundle = serde_json::from_value(description.clone()).map_err(|error| invalid(error.to_string()))?;
    match unknown_key(&value, &json!({ "version": VERSION, "bundle": bundle })) {
        None => Ok(bundle),
        Some(key) => Err(invalid(format!("{key} is unknown to this version of densenet"))),
    }
}
