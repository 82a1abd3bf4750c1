//! Functions with a backward pass of their own.

use super::autocast::without_autocast;
use super::ffi;
use crate::error::LibtorchError;
use crate::{Error, Result};
use std::any::{Any, type_name};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use tch::{Tensor, no_grad_guard};

/// A differentiable function whose passes are written in Rust: one use of it in a graph.
///
/// The value itself holds what is no tensor, such as options and sizes. It is dropped with the
/// graph, whether or not the backward pass ever ran. Tensors that it held would form a cycle with
/// the graph and never be freed: they belong into [`Forward::saved`].
///
/// For tensors on a CPU the backward pass runs on the thread that asks for gradients, for others on
/// a thread of libtorch's. With a kept graph it may run several times.
pub trait Function: Send + 'static {
    /// Computes the outputs. Nothing in here is recorded, and kinds stay as they are:
    /// mixed precision ends here.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong; [`apply`] returns it. A panic, such as that of an operation of tch's,
    /// becomes an error too.
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward>;

    /// Whether gradients go back through this output, counted from 0; asked after the forward pass.
    /// Unless overridden, they go through all of them but those of whole numbers.
    fn is_differentiable(&self, output: usize) -> bool {
        let _ = output;
        true
    }

    /// Computes the gradients of the inputs: one for each input that `needs` one, `None` for 0 and
    /// for the others.
    ///
    /// `saved` is what [`forward`](Self::forward) saved, and `gradients` are those of the outputs,
    /// `None` where none arrived. Gradients may be read by others too and must not be written into.
    /// Nothing in here is recorded: a first derivative may be computed with `create_graph`, but a
    /// derivative of it is an error that names the function.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong; `f_backward` of tch returns its text. A panic becomes an error too.
    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;
}

/// What a forward pass made.
#[derive(Debug)]
pub struct Forward {
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// What the backward pass will need of inputs, outputs and intermediate results. It is freed
    /// after the backward pass, and at once where nothing is recorded. It must not be written into
    /// before: libtorch then refuses the backward pass.
    pub saved: Vec<Tensor>,
}

/// Applies a function, and records it where an input requires a gradient.
///
/// # Errors
///
/// The function's own; [`LibtorchError::FunctionPanicked`] where it panics; [`LibtorchError::Call`] where an
/// input or an output is undefined.
///
/// # Examples
///
/// ```
/// use densenet::tch::{Kind, Tensor};
/// use densenet::torch::{Forward, Function, apply};
///
/// struct Square;
///
/// impl Function for Square {
///     fn forward(&mut self, inputs: &[Tensor]) -> densenet::Result<Forward> {
///         let x = &inputs[0];
///         Ok(Forward { outputs: vec![x * x], saved: vec![x.shallow_clone()] })
///     }
///
///     fn backward(
///         &mut self,
///         saved: Vec<Tensor>,
///         gradients: Vec<Option<Tensor>>,
///         _needs: &[bool],
///     ) -> densenet::Result<Vec<Option<Tensor>>> {
///         Ok(gradients.into_iter().map(|gradient| Some(gradient? * &saved[0] * 2.0)).collect())
///     }
/// }
///
/// let x = Tensor::from_slice(&[1.0, 2.0, 3.0]).set_requires_grad(true);
/// apply(Square, &[&x])?[0].sum(Kind::Double).backward();
/// assert_eq!(x.grad(), Tensor::from_slice(&[2.0, 4.0, 6.0]));
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn apply<F: Function>(mut function: F, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let arguments: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
    let made = guarded::<F, _>("forward", || {
        // A guard, which unlike `no_grad` turns gradients on again after a panic too.
        let _no_grad = no_grad_guard();
        let _kinds_as_given = without_autocast()?;
        function.forward(&arguments)
    })?;
    let is_differentiable = guarded::<F, _>("forward", || {
        Ok((0..made.outputs.len()).map(|output| function.is_differentiable(output) as u8).collect::<Vec<_>>())
    })?;
    let [mut inputs, mut outputs, mut saved] =
        [&arguments, &made.outputs, &made.saved].map(|tensors| ffi::handles(tensors));
    let mut recorded = vec![ptr::null_mut(); outputs.len()];
    let name = type_name::<F>();
    let function = ffi::Function {
        name: name.as_ptr().cast(),
        name_length: name.len(),
        inputs: inputs.len(),
        data: Box::into_raw(Box::new(function)).cast(),
        backward: backward::<F>,
        free: free::<F>,
    };
    ffi::call("recording of a function", |error| {
        // SAFETY: all handles are live for the length of the call, `is_differentiable` and
        // `recorded` are as long as the outputs, and the entry takes over `data`, which it hands to
        // `backward` and in the end to `free`.
        unsafe {
            ffi::densenet_record(
                &function,
                (&mut inputs).into(),
                (&mut outputs).into(),
                is_differentiable.as_ptr(),
                (&mut saved).into(),
                recorded.as_mut_ptr(),
                error,
            )
        }
    })?;
    // SAFETY: the entry has given a handle of its own for each output.
    Ok(recorded.into_iter().map(|handle| unsafe { Tensor::from_ptr(handle) }).collect())
}

/// # Safety
///
/// As `csrc/bridge.h` says of `densenet_function`, with the data that [`apply`] gave, one call at a
/// time.
unsafe extern "C" fn backward<F: Function>(
    data: *mut c_void,
    saved: ffi::Tensors,
    gradients: ffi::Tensors,
    needs: *const u8,
    results: ffi::Tensors,
    message: *mut c_void,
) -> bool {
    // SAFETY: `data` is a box of `apply`'s, and nobody else uses it meanwhile; the handles are this
    // function's to own.
    let (function, saved, gradients) = unsafe { (&mut *data.cast::<F>(), owned(saved), owned(gradients)) };
    // SAFETY: there are as many `needs` as results.
    let needs = unsafe { slice(needs, results.count) }.iter().map(|&needs| needs != 0).collect::<Vec<_>>();
    let outcome = guarded::<F, _>("backward", || {
        let gradients = function.backward(saved.into_iter().flatten().collect(), gradients, &needs)?;
        if gradients.len() == needs.len() {
            return Ok(gradients);
        }
        let message = format!("it has {} gradients for {} inputs", gradients.len(), needs.len());
        Err(Error::Libtorch(LibtorchError::Call { what: "result", message }))
    });
    match outcome {
        Ok(gradients) => {
            // What nobody needs is dropped here.
            for (i, gradient) in gradients.into_iter().enumerate().filter(|&(i, _)| needs[i]) {
                let Some(gradient) = gradient else { continue };
                let gradient = std::mem::ManuallyDrop::new(gradient);
                // SAFETY: there are as many results as gradients.
                unsafe { *results.first.add(i) = gradient.as_ptr().cast_mut() };
            }
            true
        }
        Err(error) => {
            let text = match error {
                Error::Libtorch(LibtorchError::FunctionPanicked { .. }) => error.to_string(),
                error => format!("the backward pass of {} failed: {}", type_name::<F>(), error.with_causes()),
            };
            // SAFETY: `message` is the one that this call came with, and the text is this long.
            unsafe { ffi::densenet_write_message(message, text.as_ptr().cast(), text.len()) };
            false
        }
    }
}

/// # Safety
///
/// `data` is what [`apply`] made of a box, and this is called once.
unsafe extern "C" fn free<F>(data: *mut c_void) {
    // SAFETY: as promised.
    let function = unsafe { Box::from_raw(data.cast::<F>()) };
    // A panic of a destructor must not get into C++, and there is nobody left to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(function)));
}

/// # Safety
///
/// Nobody else owns the handles, which may be null.
unsafe fn owned(tensors: ffi::Tensors) -> Vec<Option<Tensor>> {
    // SAFETY: there are as many as `count` says.
    let handles = unsafe { slice(tensors.first, tensors.count) };
    // SAFETY: as promised.
    handles.iter().map(|&handle| unsafe { (!handle.is_null()).then(|| Tensor::from_ptr(handle)) }).collect()
}

/// # Safety
///
/// `first` points to so many values, or `count` is 0.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    // SAFETY: as promised; an empty array in C++ may be at null.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// Turns a panic into an error.
fn guarded<F, T>(pass: &'static str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(Error::Libtorch(LibtorchError::FunctionPanicked {
            function: type_name::<F>(),
            pass,
            message: panic_message(&*panic).to_owned(),
        }))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
