//! Errors of calls into libtorch.

/// Errors of calls into libtorch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibtorchError {
    /// A call of the bridge to libtorch failed.
    #[error("{what}: libtorch says: {message}")]
    Call {
        /// The failed operation, in words.
        what: &'static str,
        /// The message of libtorch.
        message: String,
    },
    /// An [autograd function](crate::torch::Function) panicked.
    #[error("the {pass} pass of {function} panicked: {message}")]
    FunctionPanicked {
        /// The type of the function.
        function: &'static str,
        /// The name of the pass, "forward" or "backward".
        pass: &'static str,
        /// The message of the panic.
        message: String,
    },
}
