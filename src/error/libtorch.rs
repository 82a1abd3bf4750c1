//! A call into libtorch that failed.

/// A call into libtorch that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibtorchError {
    /// A call of the bridge to libtorch failed.
    #[error("{what}: libtorch says: {message}")]
    Call {
        /// What was asked of libtorch.
        what: &'static str,
        /// Its message.
        message: String,
    },
    /// An [autograd function](crate::torch::Function) panicked.
    #[error("the {pass} pass of {function} panicked: {message}")]
    FunctionPanicked {
        /// The function's type.
        function: &'static str,
        /// "forward" or "backward".
        pass: &'static str,
        /// What the panic said.
        message: String,
    },
}
