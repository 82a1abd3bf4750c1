//! Errors in configurations, or in what they require of this machine.

use super::{Error, join, some};

/// Errors in configurations, or in what they require of this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field of a configuration has a value outside its range.
    #[error("{field} is {value}, but has to be {expected}")]
    InvalidValue {
        /// The name of the field, in words.
        field: &'static str,
        /// The value of the field.
        value: String,
        /// The values that the field can have, in words.
        expected: &'static str,
    },
    /// A number derived from a configuration is too large.
    #[error("{what} would be more than {limit}")]
    Overflow {
        /// The number that is too large.
        what: &'static str,
        /// The largest value that is allowed.
        limit: usize,
    },
    /// The `VarStore` has a variable of this name already.
    #[error("there is a variable {name:?} already: two modules were built at one path")]
    VariableExists {
        /// The variable's full name.
        name: String,
    },
    /// A `VarStore` without a trainable variable was given to an optimizer.
    #[error("there is nothing to train: the VarStore holds no trainable variable")]
    NothingToTrain,
    /// A prefix or a rule selects none of the variables.
    #[error("{selection} selects no variable: there are {}", some(known))]
    NothingSelected {
        /// The prefix or the rule, in words.
        selection: String,
        /// The first two components of the names of the variables that there are.
        known: Vec<String>,
    },
    /// Layer-wise learning-rate decay does not know a variable's stage.
    #[error("no DenseNet has {variable:?}, so that layer decay needs its stage: pass LayerDecay::with_stages")]
    UnknownStage {
        /// The variable's full name.
        variable: String,
    },
    /// A model has fewer outputs than the training set has classes.
    #[error("the model has {outputs} outputs, but the training set has {classes} classes: build it with {classes}")]
    TooFewOutputs {
        /// The model's number of outputs.
        outputs: usize,
        /// Number of classes of the training set.
        classes: usize,
    },
    /// A part of the run monitors a metric on the validation set, and the run has no validation set.
    #[error(
        "{wanted_by} needs a validation set, so that the test set does not choose: pass one with Datasets::with_validation; \
         data::split_validation takes one from the training set"
    )]
    NoValidation {
        /// The part of the run that needs the validation set.
        wanted_by: &'static str,
    },
    /// A monitor names a metric that the run does not compute.
    #[error("there is no metric {name:?}: this run has {}", join(known))]
    UnknownMetric {
        /// The name that the monitor has.
        name: String,
        /// The names of the metrics that the run has.
        known: Vec<String>,
    },
    /// A monitored metric has no value in an epoch, such as the accuracy where the targets are not classes.
    #[error("the metric {name:?} has no value on the validation set in epoch {epoch}, so that it cannot be monitored")]
    MetricHasNoValue {
        /// The name of the metric.
        name: String,
        /// The 1-based index of the epoch.
        epoch: usize,
    },
    /// The device does not exist on this machine.
    #[error("device {name:?} cannot be used: {reason}")]
    DeviceUnavailable {
        /// The device's name as it was passed.
        name: String,
        /// The reason why it cannot be used.
        reason: String,
    },
    /// The device has no instructions for the precision.
    #[error("{device} has no instructions for bf16 (AVX512-BF16), so that it would be slower than f32")]
    PrecisionUnavailable {
        /// The name of the device.
        device: String,
    },
}

impl ConfigError {
    /// Creates the error of a selection of variables that is empty, where these are the names of all.
    pub(crate) fn nothing_selected<'a>(selection: String, names: impl Iterator<Item = &'a str>) -> Error {
        let mut known: Vec<String> =
            names.map(|name| name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")).collect();
        known.sort();
        known.dedup();
        Error::Config(ConfigError::NothingSelected { selection, known })
    }
}
