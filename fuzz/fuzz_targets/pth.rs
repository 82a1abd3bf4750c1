//! Loads files of torch.save. `fuzz/run` seeds the corpus with those of tests/fixtures/weights.
#![no_main]

mod weights;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weights::fuzz(bytes));
