//! The versions of libtorch, tch and this crate.

use super::ffi;
use std::ffi::CStr;

/// The versions and settings that a run depends on, to be printed and saved with its results.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// The version of this crate.
    pub densenet: String,
    /// libtorch's version, such as "2.13.0".
    pub libtorch: String,
    /// The series of tch that goes with this libtorch, such as "0.26".
    pub tch: String,
    /// The instruction set that libtorch's own CPU kernels use, such as "AVX512".
    pub cpu_capability: String,
    /// Number of threads of libtorch's operations on the CPU.
    pub threads: usize,
}

impl Versions {
    /// The versions that run now.
    pub fn current() -> Self {
        // SAFETY: the entry hands out a static string that ends in a zero byte.
        let libtorch = unsafe { CStr::from_ptr(ffi::densenet_libtorch_version()) };
        // SAFETY: the entry takes a place for its message and nothing else.
        let capability = ffi::call("the CPU's capability", |error| unsafe { ffi::densenet_cpu_capability(error) });
        let libtorch = libtorch.to_string_lossy().into_owned();
        Versions {
            tch: tch_series(&libtorch).to_owned(),
            densenet: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch,
            cpu_capability: capability.map_or_else(|error| error.to_string(), ffi::take_string),
            threads: tch::get_num_threads().max(1) as usize,
        }
    }
}

/// tch does not say its own version, but torch-sys accepts one libtorch only.
fn tch_series(libtorch: &str) -> &'static str {
    match libtorch.rsplit_once('.') {
        Some(("2.13", _)) => "0.26",
        Some(("2.11", _)) => "0.24",
        _ => "of another series",
    }
}
