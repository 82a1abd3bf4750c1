//! IDX files, plain and compressed: as the samples of a pair, and as its labels.
#![no_main]

use densenet::data::InMemoryDataset;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

fuzz_target!(|bytes: &[u8]| {
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let path: PathBuf = folder.join(format!("densenet-fuzz-idx-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let _ = InMemoryDataset::open_idx(&path, &path, &["a class"]);
});
