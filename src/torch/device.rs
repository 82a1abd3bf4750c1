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
    open_cuda();
    Device::cuda_if_available()
}

/// Parses the name of a device: "cpu", "cuda" or "cuda:1".
///
/// # Errors
///
/// [`ConfigError::DeviceUnavailable`] where the text is no name of a device, or this machine does not have it.
pub fn parse_device(name: &str) -> Result<Device> {
    let unusable = |reason: String| Error::Config(ConfigError::DeviceUnavailable { name: name.to_owned(), reason });
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        other => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .ok_or_else(|| unusable("it is neither cpu nor cuda nor cuda:N".to_owned()))?,
    };
    let problem = open_cuda();
    let count = tch::Cuda::device_count();
    if (index as i64) < count {
        return Ok(Device::Cuda(index));
    }
    Err(unusable(match problem {
        Some(problem) => format!("libtorch's CUDA library does not load: {problem}"),
        None => format!("this machine has {count} CUDA devices that libtorch can use"),
    }))
}

/// Returns the name of a device, such as "cpu" or "cuda:0", in the form that [`parse_device`] reads.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Opens libtorch's CUDA library once; returns the reason if that failed.
fn open_cuda() -> Option<&'static str> {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    PROBLEM
        .get_or_init(|| {
            // SAFETY: the entry takes a place for its message and nothing else.
            ffi::call("libtorch's CUDA library", |error| unsafe { ffi::densenet_open_cuda(error) })
                .err()
                .map(|error| error.to_string())
        })
        .as_deref()
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
