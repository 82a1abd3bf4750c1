//! Loads safetensors files of weights.
#![no_main]

mod weights;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weights::fuzz(bytes));
