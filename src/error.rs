//! The error type of the crate.
//!
//! [`Error`] has one variant per domain, so that a program can match on one type whatever it calls. Each domain has an
//! enum of its own, in a file of its own, whose variants name the thing that was wrong and the value it had. The cause,
//! where there is one, is in [`source`](std::error::Error::source) and is not repeated in the message.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;

mod batch;
mod checkpoint;
mod config;
mod data;
mod folder;
mod idx;
mod input;
mod io;
mod prediction;
mod training;
mod weights;

pub use batch::BatchProblem;
pub use checkpoint::CheckpointError;
pub use config::ConfigError;
pub use data::DataError;
pub use folder::FolderProblem;
pub use idx::IdxProblem;
pub use input::InputError;
pub use io::IoError;
pub use prediction::PredictionError;
pub use training::TrainingError;
pub use weights::WeightsProblem;
pub(crate) use weights::{escaped, some};

/// Any error of this crate, by domain.
///
/// `Debug` prints the message with all its causes, so that `fn main() -> densenet::Result<()>` ends with a sentence
/// instead of a structure.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration, a device or a precision cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Samples, a data set or one of its files are wrong or unavailable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model does not accept an input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file of weights does not fit the model, or is damaged.
    #[error("weights {}: {problem}", path.display())]
    Weights {
        /// Path of the file.
        path: PathBuf,
        /// The problem with the weights.
        problem: WeightsProblem,
    },
    /// A checkpoint, a saved state or the folder of a run cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A training run cannot continue.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A prediction cannot be made.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A call into libtorch failed, or an [autograd function](crate::torch::Function) panicked.
    #[error("{what}: {message}")]
    Libtorch {
        /// The failed operation, in words.
        what: &'static str,
        /// The message of libtorch or of the panic.
        message: String,
    },
    /// A metric, a loss, a model or a callback of your own failed, see [`Error::other`].
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn join(items: impl IntoIterator<Item: std::fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the message of a caught panic. Of an error of libtorch that tch has unwrapped it omits the places in
/// libtorch's source.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    text.split("\\nException raised from").next().unwrap_or(text)
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.with_causes())
    }
}

/// Converts an error of tch, so that metrics, losses and models of your own can return it with `?`.
impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Error::libtorch("tensor operation")(error)
    }
}

impl Error {
    /// Whether a configuration, a device or a precision cannot be used.
    pub fn is_config(&self) -> bool {
        matches!(self, Error::Config(_))
    }

    /// Whether samples, a data set or one of its files are wrong or unavailable.
    pub fn is_data(&self) -> bool {
        matches!(self, Error::Data(_))
    }

    /// Whether a model does not accept an input.
    pub fn is_input(&self) -> bool {
        matches!(self, Error::Input(_))
    }

    /// Whether a checkpoint, a saved state or the folder of a run cannot be used.
    pub fn is_checkpoint(&self) -> bool {
        matches!(self, Error::Checkpoint(_))
    }

    /// Whether a file operation failed, a full disk included.
    pub fn is_io(&self) -> bool {
        matches!(self, Error::Io(_))
    }

    /// Whether a value of a training step is not finite, so that the step changed nothing.
    pub(crate) fn is_non_finite(&self) -> bool {
        use TrainingError::{NonFiniteGradient, NonFiniteInput, NonFiniteLoss, NonFiniteStatistic};
        let Error::Training(error) = self else { return false };
        matches!(
            error,
            NonFiniteLoss { .. } | NonFiniteInput { .. } | NonFiniteGradient { .. } | NonFiniteStatistic { .. }
        )
    }

    /// The message and those of all causes, on one line: what a program prints before it ends.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Creates the error of a metric, a loss, a model or a callback of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::Error;
    ///
    /// let error = Error::other("the log server does not respond");
    /// assert_eq!(error.to_string(), "the log server does not respond");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Other(error.into())
    }

    /// A field of a configuration has a value that it cannot have.
    pub(crate) fn invalid_value(field: &'static str, value: impl fmt::Display, expected: &'static str) -> Self {
        Error::Config(ConfigError::InvalidValue { field, value: value.to_string(), expected })
    }

    /// What a failed call of the operating system becomes: `action` on `path` failed.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io(IoError::Failed { action, path, source })
    }

    /// What an error of tch becomes: the call named `what` failed.
    pub(crate) fn libtorch(what: &'static str) -> impl FnOnce(tch::TchError) -> Self {
        move |error| match error {
            tch::TchError::Torch(text) => Error::of_libtorch(what, &text),
            other => Error::of_libtorch(what, &other.to_string()),
        }
    }

    /// The call named `what` failed with this text of libtorch, of which the first line says why. The others, up to
    /// forty, name the places in its source.
    pub(crate) fn of_libtorch(what: &'static str, text: &str) -> Self {
        let reason = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("an error without a text");
        Error::Libtorch { what, message: format!("libtorch says: {reason}") }
    }

    pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<()> {
        match value {
            0 => Err(Error::invalid_value(field, 0, "at least 1")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use tch::{Device, Kind, Tensor};

    fn two_shapes() -> (Tensor, Tensor) {
        let ones = |length: i64| Tensor::ones([length], (Kind::Float, Device::Cpu));
        (ones(2), ones(3))
    }

    #[test]
    fn an_error_of_libtorch_is_one_line_that_says_why() {
        let (two, three) = two_shapes();
        let text = Error::libtorch("sum")(two.f_add(&three).unwrap_err()).to_string();
        assert!(text.starts_with("sum: libtorch says: The size of tensor a (2) must match"), "{text}");
        assert!(!text.contains('\n') && !text.contains("Exception raised"), "{text}");
        assert_eq!(Error::of_libtorch("sum", "\n \n why\nwhere").to_string(), "sum: libtorch says: why");
        assert_eq!(Error::of_libtorch("sum", "").to_string(), "sum: libtorch says: an error without a text");
    }

    #[test]
    fn the_message_of_a_panic_omits_the_places_in_libtorchs_source() {
        let panic = catch_unwind(|| two_shapes().0 + two_shapes().1).unwrap_err();
        let text = panic_message(&*panic);
        assert!(text.contains("The size of tensor a (2) must match"), "{text}");
        assert!(!text.contains("Exception raised") && !text.contains("frame #0"), "{text}");
        let panic = catch_unwind(|| panic!("left\nright")).unwrap_err();
        assert_eq!(panic_message(&*panic), "left\nright");
    }
}
