//! The choice of a device.

use super::ffi;
use crate::error::ConfigError;
use crate::{Error, Result};
use std::sync::OnceLock;
use tch::Device;

/// Returns the first CUDA device if there is one, else the CPU.
///
/// Call this instead of [`Device::cuda_if_available`], and before any other call about CUDA: a program linked to
/// libtorch does not load libtorch's CUDA library by itself, and libtorch caches the result of the first check. This
/// function loads the library before it checks.
pub fn default_device() -> Device {
    let _ = open_cuda();
    Device::cuda_if_available()
}

/// Parses the name of a device: "cpu", "cuda" or "cuda:1".
///
/// # Errors
///
/// [`ConfigError::DeviceUnavailable`] where the text is no name of a device, or this machine does not have it.
pub fn parse_device(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
    };
    let device = Device::Cuda(index.ok_or_else(|| unavailable(name, "it is neither cpu nor cuda nor cuda:N"))?);
    check_device(device).map(|()| device)
}

/// Checks that this machine has a device, and that libtorch can use it.
///
/// # Errors
///
/// [`ConfigError::DeviceUnavailable`] where it does not.
pub(crate) fn check_device(device: Device) -> Result<()> {
    let name = device_name(device);
    let index = match device {
        Device::Cpu => return Ok(()),
        Device::Cuda(index) => index,
        _ => return Err(unavailable(&name, "this crate runs on cpu and cuda")),
    };
    let is_there = open_cuda();
    let count = tch::Cuda::device_count();
    if (index as i64) < count {
        return Ok(());
    }
    Err(match is_there {
        Ok(true) => unavailable(&name, &format!("this machine has {count} CUDA devices that libtorch can use")),
        Ok(false) => unavailable(
            &name,
            "the loaded libtorch is one without CUDA; densenet's `./setup --cuda` installs one with it",
        ),
        Err(problem) => unavailable(&name, &format!("libtorch's CUDA library does not load: {problem}")),
    })
}

fn unavailable(name: &str, reason: &str) -> Error {
    Error::Config(ConfigError::DeviceUnavailable { name: name.to_owned(), reason: reason.to_owned() })
}

/// Returns the name of a device, such as "cpu" or "cuda:0", in the form that [`parse_device`] reads.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Opens libtorch's CUDA library once; returns whether there is one, or the reason why it does not load.
fn open_cuda() -> Result<bool, &'static str> {
    static IS_THERE: OnceLock<Result<bool, String>> = OnceLock::new();
    let is_there = IS_THERE.get_or_init(|| {
        // SAFETY: the entry takes a place for its message and nothing else.
        let opened = ffi::call("libtorch's CUDA library", |error| unsafe { ffi::densenet_open_cuda(error) });
        opened.map(|opened| opened == 1).map_err(|error| error.to_string())
    });
    is_there.as_ref().copied().map_err(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_reads_back_from_its_name() {
        assert_eq!(parse_device(&device_name(Device::Cpu)).unwrap(), Device::Cpu);
        assert_eq!(device_name(Device::Cuda(3)), "cuda:3");
    }

    #[test]
    fn an_unknown_or_missing_device_is_an_error_that_names_it() {
        for name in ["tpu", "cuda:x", "cuda:4096"] {
            let error = parse_device(name).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
