//! Differentiable functions whose backward pass is written in Rust.

use super::autocast::without_autocast;
use super::ffi;
use super::no_grad::no_grad;
use crate::error::panic_message;
use crate::{Error, Result};
use std::any::type_name;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use tch::Tensor;

/// A differentiable function whose passes are written in Rust, as PyTorch's `torch.autograd.Function`. A value stands
/// for one call, and so for one node of the graph.
///
/// The value holds what is not a tensor, such as options and sizes. It is dropped with the graph, whether or not the
/// backward pass ran. Tensors belong in [`Forward::saved`]: held by the value they would form a cycle with the graph
/// and never be freed.
///
/// The backward pass runs on the thread that calls `backward` for tensors on the CPU, and on one of libtorch's threads
/// for others. With a retained graph it may run several times.
pub trait Function: Send + 'static {
    /// Computes the outputs. Nothing in here is recorded, and kinds stay as they are: mixed precision ends here.
    ///
    /// # Errors
    ///
    /// Any error, which [`apply`](Self::apply) returns. A panic, such as that of an operation of tch, becomes an error too.
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward>;

    /// Whether the output with this 0-based index is differentiable; called after the forward pass. The provided
    /// implementation says so of all outputs except those of an integer dtype.
    fn is_differentiable(&self, output: usize) -> bool {
        let _ = output;
        true
    }

    /// Computes the gradients of the inputs, one for each input for which `needs` is true. `None` stands for a gradient
    /// of 0, and for inputs that need none.
    ///
    /// `saved` are the tensors that [`forward`](Self::forward) saved, and `gradients` are those of the outputs, `None`
    /// for an output that the loss does not depend on. Gradients may be shared and must not be modified in place.
    /// Operations in here are not recorded: a first derivative can be computed with `create_graph`, but its derivative
    /// is an error that names the function.
    ///
    /// # Errors
    ///
    /// Any error; tch's `f_backward` returns its text. A panic becomes an error too.
    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;

    /// Calls the function on inputs, and records the call in the graph where an input requires a gradient.
    ///
    /// # Errors
    ///
    /// The function's own; [`Error::Libtorch`] where it panics, or where an input or
    /// an output is undefined.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::tch::{Kind, Tensor};
    /// use densenet::torch::{Forward, Function};
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
    /// Square.apply(&[&x])?[0].sum(Kind::Double).backward();
    /// assert_eq!(x.grad(), Tensor::from_slice(&[2.0, 4.0, 6.0]));
    /// # Ok::<(), densenet::Error>(())
    /// ```
    fn apply(self, inputs: &[&Tensor]) -> Result<Vec<Tensor>>
    where
        Self: Sized,
    {
        record(self, inputs)
    }
}

/// The result of a forward pass.
#[derive(Debug)]
pub struct Forward {
    /// The outputs, in their order.
    pub outputs: Vec<Tensor>,
    /// Inputs, outputs and intermediate results that the backward pass needs. They are freed after the backward pass,
    /// or at once where nothing is recorded. They must not be modified in place before: libtorch then refuses the
    /// backward pass.
    pub saved: Vec<Tensor>,
}

/// Calls a function on inputs, and records the call.
fn record<F: Function>(mut function: F, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let arguments: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
    let made = guarded::<F, _>(|| {
        let _kinds_as_given = without_autocast()?;
        no_grad(|| function.forward(&arguments))
    })?;
    let is_differentiable = guarded::<F, _>(|| {
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
        // SAFETY: all handles are live for the length of the call, `is_differentiable` and `recorded` are as long as
        // the outputs, and the entry takes over `data`, which it hands to `backward` and in the end to `free`.
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
/// The arguments are those that `csrc/bridge.h` describes for `densenet_function`, with the data that [`record`] passed,
/// in one call at a time.
unsafe extern "C" fn backward<F: Function>(
    data: *mut c_void,
    saved: ffi::Tensors,
    gradients: ffi::Tensors,
    needs: *const u8,
    results: ffi::Tensors,
    message: *mut c_void,
) -> bool {
    // SAFETY: `data` is a box of `record`'s, and nothing else uses it at the same time; this function owns the handles.
    let (function, saved, gradients) = unsafe { (&mut *data.cast::<F>(), owned(saved), owned(gradients)) };
    // SAFETY: there are as many `needs` as results.
    let needs = unsafe { slice(needs, results.count) }.iter().map(|&needs| needs != 0).collect::<Vec<_>>();
    let outcome = guarded::<F, _>(|| {
        let gradients = function.backward(saved.into_iter().flatten().collect(), gradients, &needs)?;
        if gradients.len() == needs.len() {
            return Ok(gradients);
        }
        let message = format!("it has {} gradients for {} inputs", gradients.len(), needs.len());
        Err(Error::Libtorch { what: "result", message })
    });
    match outcome {
        Ok(gradients) => {
            // Gradients that are not needed are dropped here.
            for (i, gradient) in gradients.into_iter().enumerate().filter(|&(i, _)| needs[i]) {
                let Some(gradient) = gradient else { continue };
                let gradient = std::mem::ManuallyDrop::new(gradient);
                // SAFETY: there are as many results as gradients.
                unsafe { *results.first.add(i) = gradient.as_ptr().cast_mut() };
            }
            true
        }
        Err(error) => {
            let text = format!("the backward pass of {} failed: {}", type_name::<F>(), error.with_causes());
            // SAFETY: `message` is the argument of this call, and the text is this long.
            unsafe { ffi::densenet_write_message(message, text.as_ptr().cast(), text.len()) };
            false
        }
    }
}

/// # Safety
///
/// `data` is the box that [`record`] turned into a pointer, and this is called once.
unsafe extern "C" fn free<F>(data: *mut c_void) {
    // SAFETY: as promised.
    let function = unsafe { Box::from_raw(data.cast::<F>()) };
    // A panic of a destructor must not unwind into C++, and it cannot be reported from here.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(function)));
}

/// # Safety
///
/// The caller passes ownership of the handles, which may be null.
unsafe fn owned(tensors: ffi::Tensors) -> Vec<Option<Tensor>> {
    // SAFETY: there are as many as `count` says.
    let handles = unsafe { slice(tensors.first, tensors.count) };
    // SAFETY: as promised.
    handles.iter().map(|&handle| unsafe { (!handle.is_null()).then(|| Tensor::from_ptr(handle)) }).collect()
}

/// # Safety
///
/// `first` points to `count` values, or `count` is 0.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    // SAFETY: as promised; an empty array in C++ may be at null.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// Turns a panic of a pass into an error that names the function.
fn guarded<F, T>(pass: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(pass)).unwrap_or_else(|panic| {
        Err(Error::Libtorch { what: type_name::<F>(), message: format!("it panicked: {}", panic_message(&*panic)) })
    })
}
