//! The gradients of a convolution.

use super::ffi;
use crate::Result;
use std::ptr;
use tch::{Tensor, no_grad};

/// What [`convolution_backward`] gives.
pub(crate) struct ConvolutionGradients {
    pub input: Tensor,
    pub weight: Tensor,
}

/// The gradients of a convolution with stride 1 of `input` `[N, C, H, W]` by `weight` `[K, C, h, w]`, from that of its output.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) for sizes that do not fit.
pub(crate) fn convolution_backward(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    padding: i64,
) -> Result<ConvolutionGradients> {
    let mut gradients = [ptr::null_mut(); 2];
    no_grad(|| {
        ffi::call("backward pass of a convolution", |error| {
            // SAFETY: the pointers are live tensors' for the length of the call, and `gradients` has room for two.
            unsafe {
                ffi::densenet_convolution_backward(
                    gradient.as_ptr(),
                    input.as_ptr(),
                    weight.as_ptr(),
                    padding,
                    gradients.as_mut_ptr(),
                    error,
                )
            }
        })
    })?;
    // SAFETY: the entry has handed over tensors of its own.
    let [input, weight] = gradients.map(|gradient| unsafe { Tensor::from_ptr(gradient) });
    Ok(ConvolutionGradients { input, weight })
}
