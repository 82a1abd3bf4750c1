//! The C ABI of `csrc/` and how its failures become [`Error`]s.

use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

#[cfg(not(feature = "doc-only"))]
unsafe extern "C" {
    fn densenet_free_message(message: *mut c_char);
    pub(super) safe fn densenet_libtorch_version() -> *const c_char;
    pub(super) fn densenet_cpu_capability(error: *mut *mut c_char) -> *mut c_char;
    pub(super) fn densenet_open_cuda(error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_to_channels_last(
        tensor: *const torch_sys::C_tensor,
        error: *mut *mut c_char,
    ) -> *mut torch_sys::C_tensor;
}

/// Runs an entry of the C ABI, which fails by storing a message in its last argument.
pub(super) fn call<T>(what: &'static str, entry: impl FnOnce(*mut *mut c_char) -> T) -> Result<T> {
    let mut message = ptr::null_mut();
    let value = entry(&mut message);
    if message.is_null() { Ok(value) } else { Err(Error::Libtorch { what, message: take_string(message) }) }
}

/// Copies a string that the C ABI handed over, and frees it.
pub(super) fn take_string(text: *mut c_char) -> String {
    // SAFETY: the C ABI hands out strings that end in a zero byte, made by strdup, and this is their only owner.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        densenet_free_message(text);
        copy
    }
}
