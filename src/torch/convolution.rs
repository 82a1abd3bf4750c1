//! The gradients of a convolution.

use super::ffi;
use super::no_grad::no_grad;
use crate::Result;
use std::ptr;
use tch::Tensor;

/// The gradients that [`convolution_backward`] computes, or which of them are needed.
pub(crate) struct OfConvolution<T> {
    pub input: T,
    pub weight: T,
}

/// The gradients of a convolution with stride 1 of `input` `[N, C, H, W]` by `weight` `[K, C, h, w]`, from that of its
/// output: those that are needed.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) for sizes that do not fit.
pub(crate) fn convolution_backward(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    padding: i64,
    needs: OfConvolution<bool>,
) -> Result<OfConvolution<Option<Tensor>>> {
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
                    needs.input,
                    needs.weight,
                    gradients.as_mut_ptr(),
                    error,
                )
            }
        })
    })?;
    // SAFETY: the entry has handed over tensors of its own, or left null.
    let [input, weight] =
        gradients.map(|gradient| unsafe { (!gradient.is_null()).then(|| Tensor::from_ptr(gradient)) });
    Ok(OfConvolution { input, weight })
}
