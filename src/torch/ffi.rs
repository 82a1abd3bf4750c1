//! The C ABI of `csrc/`, and the conversion of its failures into [`Error`]s.

use crate::{Error, Result};
use std::borrow::Borrow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use tch::Tensor;

unsafe extern "C" {
    fn densenet_free_message(message: *mut c_char);
    pub(super) safe fn densenet_libtorch_version() -> *const c_char;
    pub(super) fn densenet_tune_allocator(error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_release_free_memory();
    pub(super) fn densenet_cpu_capability(error: *mut *mut c_char) -> *mut c_char;
    pub(super) fn densenet_open_cuda(error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_access(tensor: *const torch_sys::C_tensor, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_is_tracing(error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_is_autocast(is_cuda: bool, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_to_channels_last(
        tensor: *const torch_sys::C_tensor,
        error: *mut *mut c_char,
    ) -> *mut torch_sys::C_tensor;
    pub(super) fn densenet_is_channels_last(tensor: *const torch_sys::C_tensor, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_is_sole_owner(tensor: *const torch_sys::C_tensor, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_convolution_backward(
        gradient: *const torch_sys::C_tensor,
        input: *const torch_sys::C_tensor,
        weight: *const torch_sys::C_tensor,
        padding: i64,
        needs_input: bool,
        needs_weight: bool,
        gradients: *mut *mut torch_sys::C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_parallel_for(
        length: i64,
        grain: i64,
        body: extern "C" fn(*mut c_void, i64, i64),
        data: *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_fill_random(
        tensor: *mut torch_sys::C_tensor,
        is_normal: bool,
        first: f64,
        second: f64,
        seed: u64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_begin_autocast(
        is_cuda: bool,
        is_enabled: bool,
        before: *mut Autocast,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_end_autocast(before: Autocast, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_write_message(message: *mut c_void, text: *const c_char, length: usize);
    pub(super) fn densenet_record(
        function: *const Function,
        inputs: Tensors,
        outputs: Tensors,
        is_differentiable: *const u8,
        saved: Tensors,
        recorded: *mut *mut torch_sys::C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_find_non_finite(
        tensors: Tensors,
        found: *mut torch_sys::C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_fused_sgd_step(
        parameters: Tensors,
        gradients: Tensors,
        momenta: Tensors,
        rates: *const Rate,
        momentum: f64,
        nesterov: bool,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_fused_adamw_step(
        parameters: Tensors,
        gradients: Tensors,
        first_moments: Tensors,
        second_moments: Tensors,
        numbers: Tensors,
        rates: *const Rate,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_configure_cuda(
        tf32: bool,
        benchmark: bool,
        deterministic: bool,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn densenet_peak_cuda_memory(index: c_int, reset: bool, error: *mut *mut c_char) -> i64;
    pub(super) fn densenet_copy_all(from: Tensors, to: Tensors, error: *mut *mut c_char) -> c_int;
    pub(super) fn densenet_clear_gradients(tensors: Tensors, error: *mut *mut c_char) -> c_int;
}

/// The learning rate and the weight decay of one parameter; the struct `densenet_rate` of `csrc/bridge.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub learning_rate: f64,
    pub weight_decay: f64,
}

impl Rate {
    /// Returns the rate in a step where a schedule changes the learning rate `base` to `scheduled`, by the same factor.
    pub fn scheduled(self, base: f64, scheduled: f64) -> Rate {
        let is_base = self.learning_rate == base;
        let learning_rate = if is_base { scheduled } else { self.learning_rate * (scheduled / base) };
        Rate { learning_rate, ..self }
    }
}

/// The struct `densenet_tensors` of `csrc/bridge.h`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Tensors {
    pub first: *mut *mut torch_sys::C_tensor,
    pub count: usize,
}

/// Returns the handles of tensors, which have to outlive their use.
pub(super) fn handles<T: Borrow<Tensor>>(tensors: &[T]) -> Vec<*mut torch_sys::C_tensor> {
    tensors.iter().map(|tensor| tensor.borrow().as_ptr().cast_mut()).collect()
}

impl From<&mut Vec<*mut torch_sys::C_tensor>> for Tensors {
    fn from(handles: &mut Vec<*mut torch_sys::C_tensor>) -> Self {
        Tensors { first: handles.as_mut_ptr(), count: handles.len() }
    }
}

/// The struct `densenet_autocast` of `csrc/bridge.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Autocast {
    is_cuda: bool,
    is_enabled: bool,
    kind: i8,
}

/// The struct `densenet_function` of `csrc/bridge.h`.
#[repr(C)]
pub(super) struct Function {
    pub data: *mut c_void,
    pub name: *const c_char,
    pub name_length: usize,
    pub inputs: usize,
    pub backward: unsafe extern "C" fn(
        data: *mut c_void,
        saved: Tensors,
        gradients: Tensors,
        needs: *const u8,
        results: Tensors,
        message: *mut c_void,
    ) -> bool,
    pub free: unsafe extern "C" fn(data: *mut c_void),
}

/// Runs an entry of the C ABI, which fails by storing a message in its last argument.
pub(super) fn call<T>(what: &'static str, entry: impl FnOnce(*mut *mut c_char) -> T) -> Result<T> {
    let mut message = ptr::null_mut();
    let value = entry(&mut message);
    if message.is_null() { Ok(value) } else { Err(Error::of_libtorch(what, &take_string(message))) }
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
