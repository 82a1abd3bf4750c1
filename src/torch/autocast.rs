//! Automatic mixed precision (autocast) on any device.

use super::ffi::{self, Autocast};
use crate::Result;
use tch::Device;

/// Runs `body` with libtorch's autocast to bf16 for operations on this device: convolutions and matrix products take
/// f32 and compute and return bf16, as in PyTorch's `torch.autocast`. Variables stay f32, and their gradients are f32.
/// f64 stays f64.
///
/// Use it for the forward pass and the loss; each operation's backward pass runs in the dtype of its forward pass. It
/// affects the calling thread alone, and is off within functions called by [`apply`](super::apply).
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch).
pub fn autocast<T>(device: Device, body: impl FnOnce() -> T) -> Result<T> {
    let _setting = Setting::begin(device, true)?;
    Ok(body())
}

/// Whether this thread's operations choose their dtype on this device, within [`autocast`] or libtorch's own.
pub(crate) fn is_autocast(device: Device) -> bool {
    let is_cuda = matches!(device, Device::Cuda(_));
    // SAFETY: the entry has no precondition.
    ffi::call("autocast", |error| unsafe { ffi::densenet_is_autocast(is_cuda, error) }).is_ok_and(|is| is == 1)
}

/// Whether this machine computes in bf16 with instructions for it on this device. Without them libtorch gives the same
/// results, many times slower. For a GPU it is always `true`.
pub fn has_bf16(device: Device) -> bool {
    match device {
        #[cfg(target_arch = "x86_64")]
        Device::Cpu => is_x86_feature_detected!("avx512bf16"),
        #[cfg(not(target_arch = "x86_64"))]
        Device::Cpu => false,
        _ => true,
    }
}

/// Turns autocast off on the CPU until the value is dropped.
pub(super) fn without_autocast() -> Result<impl Drop> {
    Setting::begin(Device::Cpu, false)
}

/// A setting of autocast. Dropping the value restores the previous setting, also after a panic.
struct Setting {
    before: Autocast,
}

impl Setting {
    fn begin(device: Device, is_enabled: bool) -> Result<Self> {
        let mut before = Autocast::default();
        let is_cuda = matches!(device, Device::Cuda(_));
        // SAFETY: the entry writes one setting to `before`.
        ffi::call("autocast", |error| unsafe {
            ffi::densenet_begin_autocast(is_cuda, is_enabled, &mut before, error)
        })?;
        Ok(Setting { before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // SAFETY: what was before is what the entry gave. An error cannot be reported from here.
        let _ = ffi::call("autocast", |error| unsafe { ffi::densenet_end_autocast(self.before, error) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    fn kind_of_a_product() -> Kind {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        x.matmul(&x).kind()
    }

    #[test]
    fn it_ends_with_its_body_also_after_a_panic() {
        assert_eq!(autocast(Device::Cpu, kind_of_a_product).unwrap(), Kind::BFloat16);
        assert_eq!(kind_of_a_product(), Kind::Float);
        let panic = std::panic::catch_unwind(|| autocast(Device::Cpu, || panic!("out")));
        assert!(panic.is_err());
        assert_eq!(kind_of_a_product(), Kind::Float);
    }

    #[test]
    fn it_can_be_turned_off_within() {
        let kinds = autocast(Device::Cpu, || {
            let off = without_autocast().unwrap();
            let first = kind_of_a_product();
            drop(off);
            (first, kind_of_a_product())
        });
        assert_eq!(kinds.unwrap(), (Kind::Float, Kind::BFloat16));
    }

    #[test]
    fn gradients_come_back_in_f32() {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = autocast(Device::Cpu, || x.matmul(&x)).unwrap();
        y.sum(Kind::Float).backward();
        assert_eq!((x.grad().kind(), x.grad().double_value(&[0, 0])), (Kind::Float, 4.0));
    }
}
