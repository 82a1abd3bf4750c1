//! How the values of a tensor can be reached.

use super::ffi;
use tch::Tensor;

/// How the values of a tensor can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// In memory, on its device, and by libtorch's operations.
    Memory,
    /// By libtorch's operations alone: they are being recorded, as by tracing, or the tensor stands for another one.
    Operations,
    /// By few operations: a sparse, quantized or opaque tensor.
    Special,
}

impl Access {
    /// Returns the access to a tensor's values at this moment on this thread.
    pub fn to(tensor: &Tensor) -> Self {
        // SAFETY: the pointer is a live tensor's for the length of the call.
        let access = ffi::call("access to a tensor", |error| unsafe { ffi::densenet_access(tensor.as_ptr(), error) });
        match access {
            Ok(2) => Access::Memory,
            Ok(1) => Access::Operations,
            _ => Access::Special,
        }
    }
}

/// Whether libtorch traces the operations of this thread, so that a constant would stay one in the traced module.
pub(crate) fn is_tracing() -> bool {
    // SAFETY: the entry has no precondition.
    ffi::call("tracing", |error| unsafe { ffi::densenet_is_tracing(error) }).is_ok_and(|is| is == 1)
}
