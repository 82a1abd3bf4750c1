//! PNG and JPEG files.
#![no_main]

use densenet::data::{Colours, Picture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Picture::decode(bytes, Colours::Rgb);
});
