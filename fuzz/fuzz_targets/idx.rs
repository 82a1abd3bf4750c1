//! Reads IDX files, plain and compressed.
#![no_main]

use densenet::data::{IdxArray, IdxLimits};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let _ = IdxArray::from_reader(bytes, Path::new("fuzzed"), IdxLimits::default());
});
