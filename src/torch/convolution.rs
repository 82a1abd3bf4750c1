//! The gradients of a convolution.

use super::ffi;
use crate::Result;
use std::ptr;
use tch::{Tensor, no_grad};

/// What [`convolution_backward`] gives.
pub(crate) struct ConvolutionGradients {
    pub input: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
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
    has_bias: bool,
    padding: i64,
) -> Result<ConvolutionGradients> {
    let mut gradients = [ptr::null_mut(); 3];
    no_grad(|| {
        ffi::call("backward pass of a convolution", |error| {
            // SAFETY: the pointers are live tensors' for the length of the call, and `gradients` has room for three.
            unsafe {
                ffi::densenet_convolution_backward(
                    gradient.as_ptr(),
                    input.as_ptr(),
                    weight.as_ptr(),
                    padding,
                    has_bias,
                    gradients.as_mut_ptr(),
                    error,
                )
            }
        })
    })?;
    // SAFETY: the entry has handed over tensors of its own, null only for the bias that was not asked for.
    let [input, weight, bias] =
        gradients.map(|gradient| unsafe { (!gradient.is_null()).then(|| Tensor::from_ptr(gradient)) });
    let missing = "the entry gives both unless it fails";
    Ok(ConvolutionGradients { input: input.expect(missing), weight: weight.expect(missing), bias })
}
