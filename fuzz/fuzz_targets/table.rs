//! Tables of image files and their labels.
#![no_main]

use densenet::data::{BadFilePolicy, Dataset, ImageConfig, ImageTable, Targets};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::PathBuf;

/// A GIF of one pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x08\x04\0\x0f\x04\x04\0;";

fuzz_target!(|bytes: &[u8]| {
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let folder: PathBuf = folder.join(format!("densenet-fuzz-table-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("1.gif"), GIF).unwrap();
    fs::write(folder.join("table.csv"), bytes).unwrap();
    let table = ImageTable::new(folder.join("table.csv"));
    if let Ok(images) = table.open(&ImageConfig::new().with_bad_files(BadFilePolicy::Skip)) {
        let Ok(Targets::Classes(labels)) = images.targets() else { panic!("classes") };
        assert!(labels.iter().all(|&label| (label as usize) < images.classes().len()));
        assert!(images.classes().is_sorted() && labels.len() == images.paths().len());
    }
});
