//! The kernels' own tests, without libtorch, so that all of their code can be compiled for AddressSanitizer: `tests/sanitizer/run`.

#![allow(dead_code, unused_imports)]

#[path = "../../../src/kernels/mod.rs"]
mod kernels;
