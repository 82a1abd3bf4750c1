//! Decodes PNG, JPEG, GIF and BMP files in each form: colored, gray, over a color, and resized.
#![no_main]

use densenet::data::{Alpha, Color, Dataset, Image, ImageConfig, ImageFolder, ImageHeader, Interpolation};
use densenet::data::{Phase, SampleKey};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A folder with one class.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let folder = folder.join(format!("densenet-fuzz-image-{}", std::process::id()));
    fs::create_dir_all(folder.join("class")).unwrap();
    folder
});

fuzz_target!(|bytes: &[u8]| {
    let header = ImageHeader::read(bytes, Color::Rgb);
    // Large images take the time of many small ones, and go the same ways.
    if header.as_ref().is_ok_and(|header| header.width * header.height > 1 << 20) {
        return;
    }
    let Ok(image) = Image::decode(bytes, Color::Rgb) else {
        assert!(Image::decode(bytes, Color::Gray).is_err());
        return;
    };
    let header = header.unwrap();
    let [channels, height, width] = image.shape();
    assert!(channels == 3 && [[height, width], [width, height]].contains(&[header.height, header.width]));
    assert_eq!(Image::decode(bytes, Color::Gray).unwrap().shape(), [1, height, width]);
    assert_eq!(image.resize([3, 5], Interpolation::Bicubic).unwrap().shape(), [3, 3, 5]);
    // Over a color, as a sample of a folder.
    fs::write(FOLDER.join("class/image"), bytes).unwrap();
    let config = ImageConfig::new().with_size([5, 4]).with_alpha(Alpha::Over([9, 90, 200]));
    let folder = ImageFolder::open_with(&*FOLDER, &config).unwrap();
    let batch = folder.fetch(&[SampleKey { index: 0, epoch: 0, seed: 0, phase: Phase::Train }]).unwrap();
    assert_eq!(batch.sample_shape, [3, 5, 4]);
});
