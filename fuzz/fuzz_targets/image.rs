//! Decodes PNG and JPEG files.
#![no_main]

use densenet::data::{Color, Image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Image::decode(bytes, Color::Rgb);
});
