//! Pixels of images of every kind, compared with those of PIL and torchvision (tests/fixtures/images.py).

use densenet::data::{Color, Dataset, Fit, Image, ImageConfig, ImageFolder, Interpolation, Phase, SampleKey};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from("tests/fixtures/images")
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap()
}

/// The shape and the values of an expected image.
fn image(expected: &Value) -> ([usize; 3], Vec<u8>) {
    let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
    (shape.try_into().unwrap(), hex::decode(expected["values"].as_str().unwrap()).unwrap())
}

/// Returns the largest difference, after a check of the shape.
fn difference(image_: &Image, expected: &Value, what: &str) -> u8 {
    let (shape, values) = image(expected);
    assert_eq!(image_.shape(), shape, "{what}");
    image_.bytes().unwrap().iter().zip(values).map(|(a, b)| a.abs_diff(b)).max().unwrap()
}

#[test]
fn every_kind_of_png_gif_and_bmp_is_decoded_to_the_pixels_of_pil_and_every_jpeg_to_nearly_the_same() {
    let expected = expected();
    let mut worst = 0;
    for (name, image) in expected["decoded"].as_object().unwrap() {
        let bytes = fs::read(folder().join(name)).unwrap();
        for (key, color) in [("rgb", Color::Rgb), ("gray", Color::Gray)] {
            let decoded = Image::decode(&bytes, color).unwrap();
            let difference = difference(&decoded, &image[key], name);
            println!("{name} {key}: {difference}");
            // Decoders of JPEG round the inverse transform and the colors differently; colors that were halved in both
            // directions add the most.
            let allowed = if name.ends_with(".jpg") { 3 } else { 0 };
            assert!(difference <= allowed, "{name} {key}: {difference}");
            worst = worst.max(difference);
        }
    }
    println!("largest difference: {worst}");
}

#[test]
fn resized_images_are_those_of_pil_and_torchvision_up_to_rounding() {
    let expected = expected();
    let original = Image::decode(&fs::read(folder().join("rgb.png")).unwrap(), Color::Rgb).unwrap();
    for (name, image) in expected["resized"].as_object().unwrap() {
        let (mode, size) = name.split_once(' ').unwrap();
        let (height, width) = size.split_once('x').unwrap();
        let interpolation = match mode {
            "Bilinear" => Interpolation::Bilinear,
            "Bicubic" => Interpolation::Bicubic,
            "Lanczos" => Interpolation::Lanczos,
            _ => Interpolation::Nearest,
        };
        let resized = original.resize([height.parse().unwrap(), width.parse().unwrap()], interpolation).unwrap();
        let difference = difference(&resized, image, name);
        println!("{name}: {difference}");
        // Both sum 8-bit values with weights that are rounded to integers, in other widths.
        assert!(difference <= 1, "{name}: {difference}");
    }
}

#[test]
fn a_center_crop_is_that_of_torchvision_up_to_rounding() {
    let expected = expected();
    let files = tempfile::tempdir().unwrap();
    fs::create_dir(files.path().join("class")).unwrap();
    fs::copy(folder().join("rgb.png"), files.path().join("class/rgb.png")).unwrap();
    for (name, image) in expected["center crops"].as_object().unwrap() {
        let (resize_size, size) = name.split_once(' ').unwrap();
        let (height, width) = size.split_once('x').unwrap();
        let config = ImageConfig::new()
            .with_size([height.parse().unwrap(), width.parse().unwrap()])
            .with_fit(Fit::CenterCrop { resize_size: resize_size.parse().unwrap() });
        let images = ImageFolder::open_with(files.path(), &config).unwrap();
        let key = SampleKey { index: 0, epoch: 0, seed: 0, phase: Phase::Evaluation };
        let batch = images.fetch(&[key]).unwrap();
        let shape = batch.sample_shape.try_into().unwrap();
        let difference = difference(&Image::new(shape, batch.values).unwrap(), image, name);
        println!("{name}: {difference}");
        // As for resizing.
        assert!(difference <= 1, "{name}: {difference}");
    }
}
