//! Operations beside torchvision's functions on tensors of bytes, with the same parameters.
//!
//! `tests/fixtures/augment.py` writes the golden values, by the formula of `image`.

use super::affine::rotate;
use super::border::{PaddingMode, Window, crop};
use super::grid::{Affine, AffineInterpolation};
use super::manipulation::{ALL, Manipulation};
use super::{color, erasing, flip, rand_augment, tone, trivial_augment};
use crate::data::{Pixels, Rectangle};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/augment.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The formula of augment.py.
fn image([channels, height, width]: [usize; 3]) -> Pixels {
    let value = |i: u64| {
        let mut h = i.wrapping_mul(2_654_435_761).wrapping_add(12_345) & 0xFFFF_FFFF;
        h ^= h >> 15;
        h = h.wrapping_mul(73_244_475) & 0xFFFF_FFFF;
        ((h >> 16) % 160 + 9 * (i % width as u64)) as u8
    };
    let planes: Vec<u8> = (0..(channels * height * width) as u64).map(value).collect();
    Pixels::from_planes([channels, height, width], &planes)
}

fn source(golden: &Value) -> Pixels {
    let size: [usize; 3] = serde_json::from_value(golden["size"].clone()).unwrap();
    match golden["kind"].as_str().unwrap() {
        "noise" => image(size),
        "spread" => color::map(image(size), |value| (f32::from(value) * (100.0 / 255.0_f64) as f32) as u8 + 50),
        "seven" => Pixels::filled(size[2], size[1], &vec![7; size[0]]),
        kind => panic!("{kind}"),
    }
}

fn planes(pixels: &Pixels) -> Vec<u8> {
    let mut planes = vec![0; pixels.values.len()];
    pixels.write_planes(&mut planes);
    planes
}

fn padding_mode(name: &str) -> PaddingMode {
    match name {
        "constant" => PaddingMode::Constant,
        "edge" => PaddingMode::Edge,
        "reflect" => PaddingMode::Reflect,
        "symmetric" => PaddingMode::Symmetric,
        _ => panic!("{name}"),
    }
}

fn interpolation(name: &str) -> AffineInterpolation {
    if name == "nearest" { AffineInterpolation::Nearest } else { AffineInterpolation::Bilinear }
}

/// Applies the operation of a golden case.
fn result(case: &Value) -> Pixels {
    let pixels = source(&case["image"]);
    let p = &case["parameters"];
    let number = |at: usize| p[at].as_f64().unwrap();
    let integer = |at: usize| p[at].as_u64().unwrap() as usize;
    let word = |at: usize| p[at].as_str().unwrap();
    let fill = &[10, 200, 90][..pixels.channels];
    match case["operation"].as_str().unwrap() {
        "horizontal_flip" => flip::horizontal(pixels),
        "vertical_flip" => flip::vertical(pixels),
        "pad_and_crop" => {
            let start = |at| integer(at) as isize - integer(1) as isize;
            let window = Window { top: start(2), left: start(3), height: integer(4), width: integer(5) };
            crop(&pixels, window, padding_mode(word(0)), fill)
        }
        "brightness" => color::brightness(pixels, number(0)),
        "contrast" => color::contrast(pixels, number(0)),
        "saturation" => color::saturation(pixels, number(0)),
        "hue" => color::hue(pixels, number(0)),
        "grayscale" => color::grayscale(pixels),
        "sharpness" => tone::sharpness(pixels, number(0)),
        "posterize" => tone::posterize(pixels, integer(0) as u32),
        "solarize" => tone::solarize(pixels, number(0)),
        "autocontrast" => tone::autocontrast(pixels),
        "equalize" => tone::equalize(pixels),
        "erase" => {
            let mut pixels = pixels;
            let rectangle = Rectangle { top: integer(0), left: integer(1), height: integer(2), width: integer(3) };
            erasing::erase(&mut pixels, rectangle, fill);
            pixels
        }
        "rotate" => rotate(pixels, number(0), interpolation(word(1)), fill),
        "affine" => {
            let [angle, x, y, scale, shear_x, shear_y] = [0, 1, 2, 3, 4, 5].map(number);
            let affine = Affine { angle, translate: [x, y], scale, shear: [shear_x, shear_y], ..Affine::default() };
            affine.apply(&pixels, interpolation(word(6)), fill)
        }
        operation => panic!("{operation}"),
    }
}

/// Compares the result of a geometric transformation with torchvision's.
///
/// The nearest pixels are the same. Places between pixels are sums in f32, which libtorch adds in another order, so
/// that an interpolated value of half a unit may be rounded to the other side, above all at a quarter turn.
fn assert_near(own: &Pixels, golden: &Value, is_nearest: bool, what: &str) {
    let golden = hex::decode(golden.as_str().unwrap()).unwrap();
    let own = planes(own);
    assert_eq!(own.len(), golden.len());
    let differences = || own.iter().zip(&golden).map(|(a, b)| a.abs_diff(*b));
    let (count, most) = (differences().filter(|&d| d > 0).count(), differences().max().unwrap());
    if is_nearest {
        assert_eq!(count, 0, "{what}: {count} of {} values differ", own.len());
    } else {
        assert!(most <= 1 && count * 20 <= own.len(), "{what}: {count} of {} differ by up to {most}", own.len());
    }
}

#[test]
fn operations_equal_those_of_torchvision() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 150, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let own = result(case);
        let what = format!("{} {} of {}", case["operation"], case["parameters"], case["image"]);
        assert_eq!(case["shape"], serde_json::json!(own.shape()), "{what}");
        if let Some(crc) = case["crc"].as_u64() {
            let mut own_crc = flate2::Crc::new();
            own_crc.update(&planes(&own));
            if u64::from(own_crc.sum()) != crc {
                wrong.push(what);
            }
        } else {
            let is_nearest = case["parameters"].as_array().unwrap().contains(&Value::from("nearest"));
            assert_near(&own, &case["bytes"], is_nearest, &what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn named(name: &str) -> Manipulation {
    ALL.into_iter().find(|manipulation| format!("{manipulation:?}") == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn magnitudes_are_those_of_torchvisions_tables() {
    let golden = golden();
    for (table, magnitude) in [
        ("TrivialAugmentWide", (|m, bin| trivial_augment::magnitude(m, bin, 31)) as fn(Manipulation, usize) -> f64),
        ("RandAugment", |m, bin| rand_augment::magnitude(m, bin, 31, [40, 50])),
    ] {
        let entries = golden["tables"][table].as_object().unwrap();
        assert_eq!(entries.len(), ALL.len());
        for (name, entry) in entries {
            let manipulation = named(name);
            assert_eq!(Some(manipulation.is_signed()), entry["signed"].as_bool(), "{name}");
            let magnitudes = entry["magnitudes"].as_array().unwrap();
            assert!([0, 31].contains(&magnitudes.len()));
            for (bin, expected) in magnitudes.iter().enumerate() {
                let (own, expected) = (magnitude(manipulation, bin), expected.as_f64().unwrap());
                // libtorch may add and multiply in one rounding: a unit in the last place of f32.
                assert!((own - expected).abs() <= 1.2e-7 * expected.abs(), "{table} {name} {bin}: {own} {expected}");
            }
        }
    }
}

#[test]
fn manipulations_equal_torchvisions_with_the_same_magnitude() {
    let golden = golden();
    let manipulations = golden["manipulations"].as_array().unwrap();
    assert!(manipulations.len() >= ALL.len());
    for case in manipulations {
        let (name, magnitude) = (case["name"].as_str().unwrap(), case["magnitude"].as_f64().unwrap());
        let own = named(name).apply(image([3, 11, 14]), magnitude, AffineInterpolation::Nearest, &[0]);
        assert_near(&own, &case["bytes"], true, name);
    }
}
