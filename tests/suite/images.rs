//! Decoding of images: every form of PNG and JPEG that people have, and an error for everything else.

use densenet::Error;
use densenet::data::{Color, Image, Values};
use densenet::error::DataError;
use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgb, Rgba};
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

fn jpeg() -> Vec<u8> {
    encoded(image::ImageBuffer::from_fn(40, 24, |x, y| Rgb([(6 * x) as u8, (9 * y) as u8, 90])), ImageFormat::Jpeg)
}

#[test]
fn jpegs_are_decoded_and_turned_as_their_orientation_says() {
    let plain = jpeg();
    let (shape, upright) = decoded(&plain, Color::Rgb);
    assert_eq!(shape, [3, 24, 40]);
    // Orientation 6: the image has to be turned by a quarter, clockwise.
    let mut exif = b"\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00".to_vec();
    exif.extend([0; 4]);
    let turned = [&plain[..2], &exif, &plain[2..]].concat();
    let (shape, values) = decoded(&turned, Color::Rgb);
    assert_eq!(shape, [3, 40, 24]);
    // The first row was the first column, from the bottom up.
    assert_eq!((values[0], values[23]), (upright[23 * 40], upright[0]));
}

#[test]
fn truncated_damaged_too_large_and_other_files_are_errors() {
    let refused = |bytes: &[u8]| match Image::decode(bytes, Color::Rgb) {
        Err(Error::Data(DataError::Image { problem })) => problem,
        other => panic!("{other:?}"),
    };
    let png = encoded(image::ImageBuffer::from_fn(9, 9, |x, y| Luma([(x * y) as u8])), ImageFormat::Png);
    for whole in [&png, &jpeg()] {
        // The last chunk of a PNG says only that it is the last.
        for length in 0..whole.len() - 12 {
            refused(&whole[..length]);
        }
    }
    for bytes in [&b"GIF89a"[..], b"BM", b"", b"<html>", b"\xff\xd8\xff\xd9", b"RIFF\0\0\0\0WEBPVP8 "] {
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
