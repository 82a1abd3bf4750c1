//! What is wrong with a configuration, or with what it asks of this machine.

use super::join;

/// What is wrong with a configuration, or with what it asks of this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field of a configuration has a value that makes no sense.
    #[error("{field} is {value}, but has to be {expected}")]
    InvalidValue {
        /// The field, in words.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A number derived from a configuration is too large.
    #[error("{what} would be more than {limit}")]
    Overflow {
        /// Which number.
        what: &'static str,
        /// The most it may be.
        limit: usize,
    },
    /// A variable of this name is in the `VarStore` already.
    #[error("there is a variable {name:?} already: two modules were built at one path")]
    VariableExists {
        /// The full name.
        name: String,
    },
    /// A `VarStore` without a trainable variable was given to an optimizer.
    #[error("there is nothing to train: the VarStore holds no trainable variable")]
    NothingToTrain,
    /// A model has fewer outputs than the training set has classes.
    #[error("the model has {outputs} outputs, but the training set has {classes} classes: build it with {classes}")]
    TooFewOutputs {
        /// Number of outputs of the model.
        outputs: usize,
        /// Number of classes of the training set.
        classes: usize,
    },
    /// Something chooses by a metric of the validation set, and the run has no validation set.
    #[error(
        "{wanted_by} needs a validation set, so that the test set does not choose: pass one with Datasets::with_validation; \
         data::split_validation takes one from the training set"
    )]
    NoValidation {
        /// What needs the validation set.
        wanted_by: &'static str,
    },
    /// A monitor names a metric that the run does not have.
    #[error("there is no metric {name:?}: this run has {}", join(known))]
    UnknownMetric {
        /// The name that was given.
        name: String,
        /// The names of the metrics that the run has.
        known: Vec<String>,
    },
    /// A monitored metric has no value in an epoch, such as the accuracy where the targets are not classes.
    #[error("the metric {name:?} has no value on the validation set in epoch {epoch}, so that it cannot be monitored")]
    MetricHasNoValue {
        /// The name of the metric.
        name: String,
        /// 1-based epoch index.
        epoch: usize,
    },
    /// A device that does not exist, or not here.
    #[error("device {name:?} cannot be used: {reason}")]
    DeviceUnavailable {
        /// The name as it was given.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A device without instructions for a precision.
    #[error("{device} has no instructions for bf16 (AVX512-BF16), so that it would be slower than f32")]
    PrecisionUnavailable {
        /// The device's name.
        device: String,
    },
}
