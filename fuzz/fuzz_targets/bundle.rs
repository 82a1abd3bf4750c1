//! Reads model bundles, and builds the networks that they describe.
#![no_main]

use densenet::tch::Device;
use densenet::weights::Bundle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let path: std::path::PathBuf = folder.join(format!("densenet-fuzz-bundle-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let Ok(bundle) = Bundle::read(&path) else { return };
    // Values that are not finite, or dtypes that no weights have, are found only now.
    if let Ok((opened, vs, _)) = Bundle::open(&path, Device::Cpu) {
        assert_eq!(opened, bundle);
        // What is read can be described again, and an f32 is at most four times a byte.
        bundle.metadata().unwrap();
        let elements: usize = vs.variables().values().map(|own| own.numel()).sum();
        assert!(elements <= bytes.len());
    }
});
