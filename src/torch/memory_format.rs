//! Memory formats: the order of a tensor's values in memory.

use super::ffi;
use crate::Result;
use tch::{Device, Kind, Tensor};

/// Converts a tensor `[N, C, H, W]` to channels-last memory format: the channels of a pixel lie side by side in memory,
/// which is the fastest order for convolutions on a CPU. Shape and values stay the same; a tensor that has this format
/// already, without gaps, is not copied.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) where the tensor is not four-dimensional.
pub fn to_channels_last(tensor: &Tensor) -> Result<Tensor> {
    // SAFETY: the pointer is a live tensor's for the length of the call; the entry hands over a tensor of its own, or
    // null with a message.
    unsafe {
        let copy =
            ffi::call("channels-last memory format", |error| ffi::densenet_to_channels_last(tensor.as_ptr(), error))?;
        Ok(Tensor::from_ptr(copy))
    }
}

/// Whether a tensor `[N, C, H, W]` is in channels-last memory format without gaps; `false` for other than four
/// dimensions.
///
/// With one channel, or one pixel, that is the contiguous format too.
pub fn is_channels_last(tensor: &Tensor) -> bool {
    // SAFETY: the pointer is a live tensor's for the length of the call.
    let is = ffi::call("memory format", |error| unsafe { ffi::densenet_is_channels_last(tensor.as_ptr(), error) });
    is.is_ok_and(|is| is == 1)
}

/// Allocates a tensor `[N, C, H, W]` on the CPU in channels-last memory format, with any content.
pub(crate) fn empty_channels_last([n, c, h, w]: [i64; 4], kind: Kind) -> Tensor {
    // Detached, so that it is no view: libtorch forbids writing into views that a function returns.
    Tensor::empty([n, h, w, c], (kind, Device::Cpu)).permute([0, 3, 1, 2]).detach()
}

/// Returns a tensor `[N, C, H, W]` in channels-last memory format that may be modified in place: a copy where others
/// share its memory.
///
/// # Errors
///
/// Those of [`to_channels_last`].
pub(crate) fn writable_channels_last(tensor: Tensor) -> Result<Tensor> {
    if !is_channels_last(&tensor) {
        return to_channels_last(&tensor);
    }
    // SAFETY: the pointer is a live tensor's for the length of the call.
    let is_sole =
        ffi::call("owners of a tensor", |error| unsafe { ffi::densenet_is_sole_owner(tensor.as_ptr(), error) })?;
    Ok(if is_sole == 1 { tensor } else { tensor.copy() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_read_is_copied_before_it_is_written_into() {
        let tensor = || empty_channels_last([2, 3, 4, 5], Kind::Float);
        let own = tensor();
        let address = own.data_ptr();
        assert_eq!(writable_channels_last(own).unwrap().data_ptr(), address);
        let read = tensor();
        assert_ne!(writable_channels_last(read.shallow_clone()).unwrap().data_ptr(), read.data_ptr());
        let read = tensor();
        assert_ne!(writable_channels_last(read.narrow(0, 0, 2)).unwrap().data_ptr(), read.data_ptr());
    }

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
    fn a_narrowed_tensor_is_copied_without_its_gaps() {
        let x = to_channels_last(&Tensor::rand([2, 6, 4, 4], (Kind::Float, Device::Cpu))).unwrap();
        let narrow = x.narrow(1, 1, 3);
        assert!(is_channels_last(&x) && !is_channels_last(&narrow));
        let y = to_channels_last(&narrow).unwrap();
        assert_eq!(y.stride(), [48, 1, 12, 3]);
        assert!(is_channels_last(&y) && y.equal(&narrow));
    }

    #[test]
    fn channels_last_is_told_from_other_orders() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        assert!(!is_channels_last(&zeros(&[2, 3, 4, 5])));
        assert!(!is_channels_last(&zeros(&[2, 3, 4])));
        assert!(!is_channels_last(&zeros(&[1, 3, 4, 5]).expand([2, 3, 4, 5], false)));
        for shape in [[2, 3, 4, 5], [2, 1, 4, 5], [2, 3, 1, 1], [2, 1, 1, 1], [1, 1, 4, 5]] {
            assert!(is_channels_last(&to_channels_last(&zeros(&shape)).unwrap()), "{shape:?}");
            let empty = empty_channels_last(shape, Kind::Double);
            assert!(is_channels_last(&empty) && empty.size() == shape && empty.kind() == Kind::Double, "{shape:?}");
        }
    }

    #[test]
    fn an_exception_of_libtorch_becomes_an_error() {
        let error = to_channels_last(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))).unwrap_err().to_string();
        assert!(error.contains("channels-last") && error.contains("rank 4"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
