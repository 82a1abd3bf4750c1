//! CIFAR's binary files, as those of CIFAR-10 and of CIFAR-100.
#![no_main]

use densenet::data::{Cifar10, Cifar100, Dataset, Split, Targets};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::PathBuf;

fn check(dataset: &dyn Dataset, bytes: &[u8], record: usize, classes: u32) {
    assert_eq!(dataset.len() * record, bytes.len());
    let Ok(Targets::Classes(labels)) = dataset.targets() else { panic!("classes") };
    assert!(labels.len() == dataset.len() && labels.iter().all(|&label| label < classes));
}

fuzz_target!(|bytes: &[u8]| {
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let folder: PathBuf = folder.join(format!("densenet-fuzz-cifar-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for name in ["test_batch.bin", "test.bin"] {
        fs::write(folder.join(name), bytes).unwrap();
    }
    if let Ok(dataset) = Cifar10::open_in(&folder, Split::Test) {
        check(&dataset, bytes, 3073, 10);
    }
    if let Ok(dataset) = Cifar100::open_in(&folder, Split::Test) {
        check(&dataset, bytes, 3074, 100);
    }
});
