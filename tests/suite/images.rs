//! Decoding of images: every form of PNG, JPEG, GIF and BMP that people have, and an error for everything else.

use densenet::Error;
use densenet::data::{Color, Image, ImageHeader, Values};
use densenet::error::DataError;
use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgb, Rgba};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::io::Cursor;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn decoded(bytes: &[u8], colors: Color) -> ([usize; 3], Vec<u8>) {
    let image = Image::decode(bytes, colors).unwrap();
    let Values::U8(values) = image.values() else { panic!("bytes") };
    (image.shape(), values.clone())
}

#[test]
fn grey_colored_transparent_and_16_bit_pngs_become_the_channels_that_are_wanted() {
    let gray = image::ImageBuffer::from_fn(3, 2, |x, y| Luma([(10 * x + y) as u8]));
    let plane: Vec<u8> = vec![0, 10, 20, 1, 11, 21];
    let three = plane.repeat(3);
    let forms: [(&str, DynamicImage); 5] = [
        ("gray", gray.clone().into()),
        ("gray with alpha", image::ImageBuffer::from_fn(3, 2, |x, y| LumaA([(10 * x + y) as u8, 7])).into()),
        ("colored", image::ImageBuffer::from_fn(3, 2, |x, y| Rgb([(10 * x + y) as u8; 3])).into()),
        (
            "with alpha",
            image::ImageBuffer::from_fn(3, 2, |x, y| {
                let value = (10 * x + y) as u8;
                Rgba([value, value, value, 0])
            })
            .into(),
        ),
        ("16 bits", image::ImageBuffer::from_fn(3, 2, |x, y| Luma([257 * (10 * x + y) as u16])).into()),
    ];
    for (what, image) in forms {
        let bytes = encoded(image, ImageFormat::Png);
        assert_eq!(decoded(&bytes, Color::Gray), ([1, 2, 3], plane.clone()), "{what}");
        assert_eq!(decoded(&bytes, Color::Rgb), ([3, 2, 3], three.clone()), "{what}");
    }
    let planes = image::ImageBuffer::from_fn(2, 1, |x, _| Rgb([x as u8, 10 + x as u8, 20 + x as u8]));
    assert_eq!(decoded(&encoded(planes, ImageFormat::Png), Color::Rgb), ([3, 1, 2], vec![0, 1, 10, 11, 20, 21]));
}

/// How a JPEG is written.
#[derive(Clone, Copy, Debug)]
struct Form {
    kind: ColorType,
    sampling: SamplingFactor,
    is_progressive: bool,
    /// Number of units between restarts; 0 for none.
    restart: u16,
}

const PLAIN: Form = Form { kind: ColorType::Rgb, sampling: SamplingFactor::F_1_1, is_progressive: false, restart: 0 };

/// Writes an image of 40×24 pixels with something to see in each unit.
fn jpeg_of(form: Form) -> Vec<u8> {
    let channels = if form.kind == ColorType::Luma { 1 } else { 3 };
    let pixel = |x: usize, y: usize| [6 * x + (x * y) % 7, 9 * y + (3 * x * y) % 11, 90 + (x * x + y) % 13];
    let places = (0..24).flat_map(|y| (0..40).map(move |x| (x, y)));
    let values: Vec<u8> = places.flat_map(|(x, y)| pixel(x, y).into_iter().take(channels)).map(|v| v as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(form.sampling);
    encoder.set_progressive(form.is_progressive);
    encoder.set_restart_interval(form.restart);
    encoder.encode(&values, 40, 24, form.kind).unwrap();
    bytes
}

fn jpeg() -> Vec<u8> {
    jpeg_of(PLAIN)
}

fn forms() -> Vec<Form> {
    let halved = Form { sampling: SamplingFactor::F_2_2, ..PLAIN };
    let gray = Form { kind: ColorType::Luma, ..PLAIN };
    let progressive = |form| Form { is_progressive: true, ..form };
    let with_restarts = |form| Form { restart: 2, ..form };
    let plain = [PLAIN, halved, gray];
    plain
        .iter()
        .flat_map(|&form| [form, with_restarts(form), progressive(form), progressive(with_restarts(form))])
        .collect()
}

fn refused(bytes: &[u8]) -> String {
    match Image::decode(bytes, Color::Rgb) {
        Err(Error::Data(DataError::Image { problem })) => problem,
        other => panic!("{other:?}"),
    }
}

/// EXIF metadata with an orientation of 6: the image has to be turned by a quarter, clockwise.
fn exif(is_little: bool, is_long: bool) -> Vec<u8> {
    let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let value = if is_long { long(6).to_vec() } else { [short(6), short(0)].concat() };
    let byte_order: &[u8] = if is_little { b"II" } else { b"MM" };
    let kind = if is_long { 4 } else { 3 };
    [byte_order, &short(42), &long(8), &short(1), &short(0x112), &short(kind), &long(1), &value, &long(0)].concat()
}

/// Puts EXIF metadata into a JPEG.
fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (exif.len() + 8) as u16;
    [&jpeg[..2], b"\xff\xe1", &length.to_be_bytes(), b"Exif\0\0", exif, &jpeg[2..]].concat()
}

/// Inserts EXIF metadata into a PNG before its last chunk, which is behind the values.
fn png_with_exif(png: &[u8], exif: &[u8]) -> Vec<u8> {
    let (start, end) = png.split_at(png.len() - 12);
    let content = [b"eXIf", exif].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    [start, &(exif.len() as u32).to_be_bytes(), &content, &crc.sum().to_be_bytes(), end].concat()
}

#[test]
fn images_are_turned_as_their_orientation_says() {
    let pixels = image::ImageBuffer::from_fn(40, 24, |x, y| Rgb([(6 * x) as u8, (9 * y) as u8, 90]));
    let (jpeg, png) = (jpeg(), encoded(pixels, ImageFormat::Png));
    let [of_jpeg, of_png] = [&jpeg, &png].map(|bytes| decoded(bytes, Color::Rgb));
    assert_eq!([of_jpeg.0, of_png.0], [[3, 24, 40]; 2]);
    for (is_little, is_long) in [(false, false), (false, true), (true, false), (true, true)] {
        let exif = exif(is_little, is_long);
        for (bytes, (_, upright)) in [(with_exif(&jpeg, &exif), &of_jpeg), (png_with_exif(&png, &exif), &of_png)] {
            let (shape, values) = decoded(&bytes, Color::Rgb);
            assert_eq!(shape, [3, 40, 24]);
            // The first row was the first column, from the bottom up.
            assert_eq!((values[0], values[23]), (upright[23 * 40], upright[0]));
        }
    }
    // Damaged metadata say nothing about the image.
    let exif = exif(false, false);
    for length in 0..exif.len() - 8 {
        assert_eq!(decoded(&with_exif(&jpeg, &exif[..length]), Color::Rgb), of_jpeg);
        assert_eq!(decoded(&png_with_exif(&png, &exif[..length]), Color::Rgb), of_png);
    }
}

#[test]
fn colors_become_gray_by_the_weights_of_rec_601() {
    let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]];
    let image = image::ImageBuffer::from_fn(5, 1, |x, _| Rgb(colors[x as usize]));
    // What PIL's `convert("L")` gives.
    let expected = [76, 150, 29, 255, 18];
    assert_eq!(decoded(&encoded(image, ImageFormat::Png), Color::Gray), ([1, 1, 5], expected.to_vec()));
    for (color, expected) in colors.into_iter().zip(expected) {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, 100).encode(&color.repeat(64), 8, 8, ColorType::Rgb).unwrap();
        let (_, values) = decoded(&bytes, Color::Gray);
        assert!(values.iter().all(|&value| value.abs_diff(expected) <= 1), "{color:?}: {values:?}");
    }
}

#[test]
fn jpegs_of_every_form_are_decoded() {
    let (shape, expected) = decoded(&jpeg(), Color::Rgb);
    for form in forms() {
        let (form_shape, values) = decoded(&jpeg_of(form), Color::Rgb);
        assert_eq!(form_shape, shape, "{form:?}");
        let errors = values.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let error = errors.sum::<f64>() / values.len() as f64;
        // Fewer colors lose some; in gray the red channel is compared with all three.
        assert!(form.kind == ColorType::Luma || error < 4.0, "{form:?}: {error}");
    }
}

#[test]
fn what_follows_the_end_of_a_jpeg_is_ignored() {
    let video = b"\0\0\0\x18ftypmp42 \xff\xd9\xff\xda \xff".repeat(1000);
    for form in forms() {
        let whole = jpeg_of(form);
        let expected = decoded(&whole, Color::Rgb);
        for after in [&b"\n"[..], b"\0\0\0", &whole, &video] {
            assert_eq!(decoded(&[&whole, after].concat(), Color::Rgb), expected, "{form:?}");
        }
    }
}

#[test]
fn a_jpeg_of_which_a_part_is_missing_is_an_error_also_with_an_end_marker() {
    for form in forms() {
        let whole = jpeg_of(form);
        let expected = decoded(&whole, Color::Rgb);
        let mut accepted = 0;
        for length in 2..whole.len() - 2 {
            let marked = [&whole[..length], b"\xff\xd9"].concat();
            // What is missing may be bits that are the same as those that follow; the image is whole then.
            match Image::decode(&marked, Color::Rgb) {
                Ok(_) => {
                    assert_eq!(decoded(&marked, Color::Rgb), expected, "{form:?}, {length} of {}", whole.len());
                    accepted += 1;
                }
                Err(error) => assert!(matches!(error, Error::Data(DataError::Image { .. })), "{error}"),
            }
        }
        assert!(accepted <= 1, "{form:?}: {accepted}");
    }
    let problem = refused(&[&jpeg()[..400], b"\xff\xd9"].concat());
    assert!(problem.contains("damaged") || problem.contains("cut off"), "{problem}");
}

#[test]
fn a_jpeg_that_would_take_too_much_memory_is_refused_before_it_is_decoded() {
    for form in forms() {
        let mut bytes = jpeg_of(form);
        let frame = if form.is_progressive { 0xc2 } else { 0xc0 };
        let at = bytes.windows(2).position(|pair| pair == [0xff, frame]).unwrap();
        let mut with_height = |height: u16| {
            bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
            bytes[at + 7..at + 9].copy_from_slice(&8000_u16.to_be_bytes());
            refused(&bytes)
        };
        assert!(with_height(8000).contains("bytes"), "{form:?}");
        assert!(with_height(9000).contains("8000×9000 pixels"));
        assert!(with_height(20_000).contains("8000×20000 pixels"));
    }
}

#[test]
fn a_png_of_which_a_part_is_missing_is_an_error_also_with_an_end_and_what_follows_it_is_ignored() {
    let image = image::ImageBuffer::from_fn(64, 48, |x, y| Rgb([(x * y) as u8, (x ^ y) as u8, (7 * x + y) as u8]));
    let png = encoded(image, ImageFormat::Png);
    let expected = decoded(&png, Color::Rgb);
    assert_eq!(decoded(&[&png, &b"\n"[..], &png].concat(), Color::Rgb), expected);
    // The chunk of the values, with a part of them and a checksum that fits.
    let at = png.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(png[at - 4..at].try_into().unwrap()) as usize;
    for kept in [0, length / 3, length / 2, length - 40] {
        let chunk = [b"IDAT", &png[at + 4..at + 4 + kept]].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&chunk);
        let length = (kept as u32).to_be_bytes();
        refused(&[&png[..at - 4], &length, &chunk, &crc.sum().to_be_bytes(), &png[png.len() - 12..]].concat());
    }
}

#[test]
fn the_header_says_how_large_an_image_is_and_what_decoding_takes() {
    for form in forms() {
        let header = ImageHeader::read(&jpeg_of(form), Color::Rgb).unwrap();
        assert_eq!([header.width, header.height], [40, 24]);
        // The result and what it is made of; and the file with all its coefficients, and rows of them.
        assert!((6 * 960..16 * 960 + 60_000).contains(&header.memory), "{form:?}: {}", header.memory);
    }
    let png = encoded(image::ImageBuffer::from_fn(9, 5, |x, y| Rgba([(x * y) as u16; 4])), ImageFormat::Png);
    let header = ImageHeader::read(&png, Color::Gray).unwrap();
    assert_eq!([header.width, header.height], [9, 5]);
    // Four channels, which become one; and rows and windows of the compressed data.
    assert!((45 * 8..400_000).contains(&header.memory), "{}", header.memory);
    assert!(ImageHeader::read(&png[..20], Color::Gray).is_err());
}

#[test]
fn truncated_damaged_too_large_and_other_files_are_errors() {
    let png = encoded(image::ImageBuffer::from_fn(9, 9, |x, y| Luma([(x * y) as u8])), ImageFormat::Png);
    for whole in [&png, &jpeg()] {
        // The last chunk of a PNG says only that it is the last.
        for length in 0..whole.len() - 12 {
            refused(&whole[..length]);
        }
    }
    for bytes in [
        &b"GIF89a"[..],
        b"GIF87a\x01\0\x01\0\0\0\0;",
        b"BM",
        b"",
        b"<html>",
        b"\xff\xd8\xff\xd9",
        b"RIFF\0\0\0\0WEBPVP8 ",
    ] {
        refused(bytes);
    }
    // A header that claims 100,000 pixels a side, and one that claims 16,000, with nothing behind them.
    for side in [100_000_u32, 16_000] {
        let mut header = b"IHDR".to_vec();
        header.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
        header.extend([8, 2, 0, 0, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&header);
        let bomb = [b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d", &header[..], &crc.sum().to_be_bytes()].concat();
        refused(&[&bomb[..], &png[33..]].concat());
    }
    // Within the sides and pixels that are allowed, but of 16 bits and four channels.
    let large = encoded(image::ImageBuffer::from_pixel(8000, 6000, Rgba([0_u16; 4])), ImageFormat::Png);
    let problem = refused(&large);
    assert!(problem.contains("bytes"), "{problem}");
    let problem = refused(&vec![0; (64 << 20) + 1]);
    assert!(problem.contains("67108865"), "{problem}");
}

/// A GIF of one gray pixel with this screen, these parts before its image, and this after it.
fn gif(screen: [u8; 4], before: &[u8], after: &[u8]) -> Vec<u8> {
    let image = b",\0\0\0\0\x01\0\x01\0\0\x08\x04\0\x0f\x04\x04\0";
    [b"GIF89a", &screen[..], b"\0\0\0", before, image, after].concat()
}

#[test]
fn a_gif_is_walked_to_its_end() {
    let screen = [1, 0, 1, 0];
    let plain = gif(screen, b"", b";");
    assert_eq!(decoded(&plain, Color::Rgb), ([3, 1, 1], vec![7, 7, 7]));
    let comment = b"!\xfe\x03abc\x02;,\0";
    for other in [gif(screen, comment, b";"), gif(screen, b"\0", b";"), gif(screen, b"", b";behind")] {
        assert_eq!(decoded(&other, Color::Rgb), decoded(&plain, Color::Rgb));
    }
    assert!(refused(&gif(screen, b"", b"")).contains("cut off"));
    assert!(refused(&gif(screen, b"", b"?;")).contains("unknown parts"));
    assert!(refused(&gif(screen, b"", b",\0\0\0\0\x01\0\x01\0\0\x08\x04\0")).contains("cut off"));
    assert!(refused(&gif([0, 0x41, 1, 0], b"", b";")).contains("16640×1 pixels"));
    let at = plain.iter().position(|&byte| byte == b',').unwrap();
    for (place, value, problem) in [(5, 0, "0×1 pixels"), (10, 9, "9 bits"), (10, 0, "0 bits"), (5, 9, "1 of 9 pixels")]
    {
        let mut changed = plain.clone();
        changed[at + place] = value;
        let found = refused(&changed);
        assert!(found.contains(problem), "{found}");
    }
}

#[test]
fn a_jpeg_of_many_scans_or_segments_is_refused_before_it_is_decoded() {
    let progressive = jpeg_of(Form { is_progressive: true, ..PLAIN });
    let (start, scan) = progressive.split_at(progressive.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap());
    let end = scan[2..].windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0).unwrap() + 2;
    let repeated = |count: usize| [start, &scan[..end].repeat(count), scan].concat();
    assert!(refused(&repeated(100)).contains("more than 100 scans"));
    let tables = [&jpeg()[..2], &b"\xff\xc4\0\x02".repeat(5000), &jpeg()[2..]].concat();
    assert!(refused(&tables).contains("more than 4096 segments"));
    // Comments are none that a decoder needs.
    let comments = [&jpeg()[..2], &b"\xff\xfe\0\x02".repeat(5000), &jpeg()[2..]].concat();
    assert_eq!(decoded(&comments, Color::Rgb), decoded(&jpeg(), Color::Rgb));
}
