//! The report of loading weights.

use std::fmt;

/// One tensor of a file that was loaded into a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedTensor {
    /// Name of the model's variable.
    pub variable: String,
    /// Name of the tensor in the file.
    pub tensor: String,
    /// The conversion before the copy, such as "f16 to f32" or "3 channels summed"; `None` where there was none.
    pub converted: Option<String>,
}

/// The report of [`load`](super::load): every tensor of the file and every variable of the model is in exactly one
/// list.
///
/// As text it is one line of counts, such as `606 loaded (0 renamed, 0 converted), 0 missing, 0 unexpected, 0 kept, 121
/// ignored`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that were loaded, sorted by variable.
    pub loaded: Vec<LoadedTensor>,
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
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let converted = self.loaded.iter().filter(|loaded| loaded.converted.is_some()).count();
        let renamed = self.loaded.iter().filter(|loaded| loaded.variable != loaded.tensor).count();
        write!(f, "{} loaded ({renamed} renamed, {converted} converted)", self.loaded.len())?;
        let [missing, unexpected, kept, ignored] =
            [&self.missing, &self.unexpected, &self.kept, &self.ignored].map(Vec::len);
        write!(f, ", {missing} missing, {unexpected} unexpected, {kept} kept, {ignored} ignored")
    }
}
