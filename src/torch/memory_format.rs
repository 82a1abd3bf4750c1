//! Memory formats: in which order a tensor's values lie in memory.

use super::ffi;
use crate::Result;
use tch::Tensor;

/// The same tensor `[N, C, H, W]` with the channels of a pixel side by side in memory, which is what convolutions on a CPU
/// like best. Shape and values stay; a tensor that has this order already is not copied.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) where the tensor is not four-dimensional.
pub fn to_channels_last(tensor: &Tensor) -> Result<Tensor> {
    // SAFETY: the pointer is a live tensor's for the length of the call; the entry hands over a tensor of its own, or null
    // with a message.
    unsafe {
        let copy = ffi::call("channels-last order", |error| ffi::densenet_to_channels_last(tensor.as_ptr(), error))?;
        Ok(Tensor::from_ptr(copy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn channels_last_keeps_shape_and_values() {
        let x = Tensor::arange(2 * 3 * 4 * 5, (Kind::Float, Device::Cpu)).view([2, 3, 4, 5]);
        let y = to_channels_last(&x).unwrap();
        assert_eq!(y.stride(), [60, 1, 15, 3]);
        assert!(y.equal(&x));
        assert_eq!(to_channels_last(&y).unwrap().data_ptr(), y.data_ptr());
    }

    #[test]
    fn one_channel_gets_the_strides_too() {
        let x = Tensor::zeros([8, 1, 7, 7], (Kind::Float, Device::Cpu));
        assert_eq!(to_channels_last(&x).unwrap().stride(), [49, 1, 7, 1]);
    }

    #[test]
    fn an_exception_of_libtorch_becomes_an_error() {
        let error = to_channels_last(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))).unwrap_err().to_string();
        assert!(error.contains("channels-last") && error.contains("rank 4"), "{error}");
    }
}
