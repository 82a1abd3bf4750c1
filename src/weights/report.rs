//! The report of loading weights.

use crate::error::some;
use std::collections::BTreeMap;
use std::fmt;

/// The report of [`load`](super::load): every tensor of the file and every variable of the model is in exactly one
/// of `loaded`, `missing`, `unexpected`, `kept` and `ignored`.
///
/// A tensor is renamed where the file has another name for the variable, and converted where it has another dtype.
///
/// As text it is one line of counts, such as `606 loaded (0 renamed, 0 converted), 0 missing, 0 unexpected, 0 kept, 121
/// ignored`, which ends with the warnings if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names of the variables that were loaded, each with the name of its tensor in the file.
    pub loaded: BTreeMap<String, String>,
    /// Names of the loaded variables whose tensors were converted before the copy, each with the conversion, such as
    /// "f16 to f32" or "3 channels summed".
    pub converted: BTreeMap<String, String>,
    /// Names of variables that the file has no tensor for, which keep their values. Empty unless loading is non-strict.
    pub missing: Vec<String>,
    /// Names of tensors that the model has no variable for. Empty unless loading is non-strict.
    pub unexpected: Vec<String>,
    /// Names of the classifier's variables, which keep their values, where
    /// [`with_new_head`](super::LoadConfig::with_new_head) was chosen.
    pub kept: Vec<String>,
    /// Names of tensors that are no weights of this model by design: batch counters, the classifier's tensors under
    /// [`with_new_head`](super::LoadConfig::with_new_head), and everything without the prefix, such as the state of an
    /// optimizer.
    pub ignored: Vec<String>,
    /// Names of loaded variables that a network cannot compute with, each with the reason: values that are not finite,
    /// or negative values of a running variance.
    pub warnings: BTreeMap<String, String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let renamed = self.loaded.iter().filter(|(variable, tensor)| variable != tensor).count();
        write!(f, "{} loaded ({renamed} renamed, {} converted)", self.loaded.len(), self.converted.len())?;
        let [missing, unexpected, kept, ignored] =
            [&self.missing, &self.unexpected, &self.kept, &self.ignored].map(Vec::len);
        write!(f, ", {missing} missing, {unexpected} unexpected, {kept} kept, {ignored} ignored")?;
        if self.warnings.is_empty() {
            return Ok(());
        }
        let warnings: Vec<String> = self.warnings.iter().map(|(name, reason)| format!("{name} has {reason}")).collect();
        write!(f, "; warning: {}", some(&warnings))
    }
}
