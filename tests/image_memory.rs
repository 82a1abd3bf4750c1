//! The memory and the time that decoding takes, of files made to take much of both and of the largest that are allowed.
//! A binary of its own, which starts itself once for each file: what is measured is the whole process.
#![cfg(all(target_os = "linux", feature = "images"))]

#[path = "suite/support/memory.rs"]
mod memory;
#[path = "suite/support/process.rs"]
mod process;

use densenet::data::{Color, Image, ImageHeader};
use flate2::{Compression, Crc, write::ZlibEncoder};
use jpeg_encoder::{ColorType, Encoder};
use memory::memory_mib;
use process::{only, passes};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

/// In a process that the test starts: the file that it decodes. Absent in the test itself.
const MEASURED: &str = "DENSENET_TEST_MEASURED";

/// Most memory in MiB beyond one copy of its bytes by which a file that is refused, or has few pixels, may grow a
/// process: the decoders' buffers, of up to half a MiB, and what the allocator rounds up.
const SMALL_MIB: f64 = 2.0;

/// Most memory in MiB beyond the estimate of `ImageHeader`: code pages touched for the first time, thread-local buffers,
/// and what the allocator rounds up.
const ROUNDING_MIB: f64 = 6.0;

/// Most time of one decode. The slowest takes three seconds, and tests share their machine.
const TIME: Duration = Duration::from_secs(30);

/// What decoding a file did.
#[derive(Debug)]
struct Measured {
    is_image: bool,
    mib: f64,
    /// The estimate before decoding; 0 where the header is refused.
    estimate_mib: f64,
    time: Duration,
}

/// Decodes the file in a process of its own; `None` in that process.
fn measured(test: &str, bytes: &[u8]) -> Option<Measured> {
    if let Some(path) = std::env::var_os(MEASURED) {
        let bytes = std::fs::read(path).unwrap();
        let before = memory_mib("VmRSS").unwrap();
        let start = Instant::now();
        let header = ImageHeader::read(&bytes, Color::Rgb).map_or(0, |header| header.memory);
        let decoded = Image::decode(&bytes, Color::Rgb);
        let (seconds, mib) = (start.elapsed().as_secs_f64(), memory_mib("VmHWM").unwrap() - before);
        println!("\nmeasured: {} {mib} {} {seconds}", decoded.is_ok(), header as f64 / (1 << 20) as f64);
        return None;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let [program, arguments @ ..] = only(test);
    let mut command = Command::new(program);
    command.args(arguments).arg("--nocapture").env(MEASURED, file.path()).env("OMP_NUM_THREADS", "1");
    let output = passes(&mut command);
    let line = output.lines().find_map(|line| line.strip_prefix("measured: ")).expect("a measurement");
    let values: Vec<&str> = line.split(' ').collect();
    let number = |index: usize| values[index].parse::<f64>().unwrap();
    let time = Duration::from_secs_f64(number(3));
    Some(Measured { is_image: values[0] == "true", mib: number(1), estimate_mib: number(2), time })
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [name, content].concat();
    let mut crc = Crc::new();
    crc.update(&named);
    [&(content.len() as u32).to_be_bytes(), &named[..], &crc.sum().to_be_bytes()].concat()
}

/// A PNG with a bit depth, color type and interlacing, further chunks, and compressed values.
fn png([width, height]: [u32; 2], form: [u8; 3], further: &[u8], values: &[u8]) -> Vec<u8> {
    let [depth, color, interlacing] = form;
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, color, 0, 0, interlacing]].concat();
    let chunks = [&chunk(b"IHDR", &header), further, &chunk(b"IDAT", values), &chunk(b"IEND", b"")].concat();
    [b"\x89PNG\r\n\x1a\n", &chunks[..]].concat()
}

/// Compresses zeros, of which every `row` bytes begin with a filter.
fn zeros(bytes: usize, row: usize, filter: u8) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut block = vec![0; row];
    block[0] = filter;
    (0..bytes / row).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.finish().unwrap()
}

/// EXIF metadata with an orientation of a quarter turn, and further bytes.
fn exif(further: usize) -> Vec<u8> {
    let entry = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
    [b"MM\0\x2a\0\0\0\x08\0\x01", &entry[..], &vec![0; 4 + further]].concat()
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
}

/// A progressive JPEG of one gray, whose scans after the first bring all other coefficients as zeros, again and again.
fn scans([width, height]: [u16; 2], count: usize) -> Vec<u8> {
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    let frame = [&[8], &height.to_be_bytes()[..], &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat();
    // One code of one bit each: no difference, and an end of 2¹⁴ or more blocks with 14 bits of their number.
    let table = |class: u8, symbol: u8| segment(0xc4, &[&[class, 1], &[0; 15][..], &[symbol]].concat());
    let first = [segment(0xda, &[1, 1, 0, 0, 0, 0]), vec![0; blocks.div_ceil(8)]].concat();
    let ends: Vec<bool> = (0..blocks.div_ceil(21_845) * 15).map(|bit| bit % 15 % 2 == 1).collect();
    let byte = |bits: &[bool]| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(*bits.get(bit).unwrap_or(&true)));
    let other = [segment(0xda, &[1, 1, 0, 1, 63, 0]), ends.chunks(8).map(byte).collect()].concat();
    let quantization = segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let parts = [b"\xff\xd8".to_vec(), quantization, segment(0xc2, &frame), table(0, 0), table(0x10, 0xe0), first];
    [parts.concat(), other.repeat(count - 1), b"\xff\xd9".to_vec()].concat()
}

fn jpeg([width, height]: [u16; 2], is_progressive: bool, restart: u16) -> Vec<u8> {
    let values: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|at| (at / 500 % 256) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 60);
    encoder.set_progressive(is_progressive);
    encoder.set_restart_interval(restart);
    encoder.encode(&values, width, height, ColorType::Ycbcr).unwrap();
    bytes
}

/// A transparent GIF of one image of this size.
fn transparent_gif([width, height]: [u16; 2]) -> Vec<u8> {
    let colors: Vec<u8> = (0..usize::from(width) * usize::from(height)).map(|at| (at / 7) as u8).collect();
    let data = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&colors).unwrap();
    let blocks: Vec<u8> = data.chunks(255).flat_map(|block| [&[block.len() as u8], block].concat()).collect();
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let image = [&b"!\xf9\x04\x01\0\0\x09\0,\0\0\0\0"[..], &size, b"\0\x08", &blocks, b"\0;"].concat();
    [&b"GIF89a"[..], &size, b"\0\0\0", &image].concat()
}

/// A GIF of one image of this size, which its data does not fill.
fn gif(screen: [u16; 2], size: [u16; 2]) -> Vec<u8> {
    let bytes = |[width, height]: [u16; 2]| [width.to_le_bytes(), height.to_le_bytes()].concat();
    let image = [&b",\0\0\0\0"[..], &bytes(size), b"\0\x08\x04\0\x0f\x04\x04\0;"].concat();
    [&b"GIF89a"[..], &bytes(screen), b"\0\0\0", &image].concat()
}

fn bmp([width, height]: [u32; 2], bits: u8, data: usize) -> Vec<u8> {
    let header = [40, width, height, 1 | u32::from(bits) << 16, 0, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
    [&b"BM\0\0\0\0\0\0\0\0\x36\0\0\0"[..], &header, &vec![9; data]].concat()
}

/// A chunk of a name, and of zeros that expand to half a gigabyte.
fn expanding(name: &[u8; 4], prefix: &[u8], zeros: &[u8]) -> Vec<u8> {
    chunk(name, &[prefix, zeros].concat())
}

#[test]
fn files_made_to_take_much_memory_or_time_take_little() {
    let test = "files_made_to_take_much_memory_or_time_take_little";
    if std::env::var_os(MEASURED).is_some() {
        measured(test, b"");
        return;
    }
    let bomb = zeros(512 << 20, 1 << 16, 0);
    let pixels = zeros(9 * 8, 9, 0);
    let with = |further: &[u8]| png([8, 8], [8, 0, 0], further, &pixels);
    let mut huge_header = jpeg([64, 64], false, 0);
    let frame = huge_header.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    huge_header[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let mut progressive_header = scans([64, 64], 3);
    let frame = progressive_header.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    progressive_header[frame + 5..frame + 9].copy_from_slice(&[0x3f, 0xff, 0x0f, 0xff]);
    let exif_segments = segment(0xe1, &[b"Exif\0\0", &exif(60_000)[..]].concat()).repeat(100);
    let small_jpeg = jpeg([64, 64], false, 0);
    // Whether there is an image in the end.
    let files: [(&str, bool, Vec<u8>); 19] = [
        ("PNG of 16384×16384 pixels", false, png([16_384; 2], [8, 2, 0], b"", &pixels)),
        ("PNG of 16384×1600 pixels without values", false, png([16_384, 1600], [8, 2, 0], b"", b"")),
        ("PNG of 8×8 pixels and half a gigabyte", true, png([8, 8], [8, 0, 0], b"", &bomb)),
        ("PNG with a color profile", true, with(&expanding(b"iCCP", b"a\0\0", &bomb))),
        ("PNG with compressed text", true, with(&expanding(b"zTXt", b"a\0\0", &bomb))),
        ("PNG with international text", true, with(&expanding(b"iTXt", b"a\0\x01\0\0\0", &bomb))),
        ("PNG with many texts", true, with(&chunk(b"tEXt", b"a\0b").repeat(100_000))),
        ("GIF of 65535×65535 pixels", false, gif([65_535; 2], [1, 1])),
        ("GIF of 16384×16384 pixels", false, gif([16_384; 2], [1, 1])),
        ("GIF whose image is 16384×16384 pixels", false, gif([1, 1], [16_384; 2])),
        ("BMP of 16384×16384 pixels", false, bmp([16_384; 2], 24, 100)),
        ("BMP of 65535×65535 pixels", false, bmp([65_535; 2], 1, 100)),
        ("BMP of 2³¹ pixels a side", false, bmp([1 << 31, 1 << 31], 32, 100)),
        ("JPEG of 65500×65500 pixels", false, huge_header),
        ("progressive JPEG of 4095×16383 pixels", false, progressive_header),
        ("JPEG with 100 EXIF segments", true, [&small_jpeg[..2], &exif_segments, &small_jpeg[2..]].concat()),
        ("JPEG with a million empty tables", false, {
            [&small_jpeg[..2], &b"\xff\xc4\0\x02".repeat(1 << 20), &small_jpeg[2..]].concat()
        }),
        ("JPEG of 5000 scans", false, scans([4096, 4096], 5000)),
        ("JPEG of 4096×16384 pixels in scans", false, scans([4096, 16_384], 10)),
    ];
    for (name, is_image, bytes) in files {
        let measured = measured(test, &bytes).unwrap();
        println!("{name}: {measured:?}");
        assert_eq!(measured.is_image, is_image, "{name}");
        assert!(measured.mib < SMALL_MIB + bytes.len() as f64 / (1 << 20) as f64, "{name}: {measured:?}");
        assert!(measured.time < TIME, "{name}: {measured:?}");
    }
}

#[test]
fn the_largest_images_take_no_more_memory_than_their_header_says_and_seconds() {
    let test = "the_largest_images_take_no_more_memory_than_their_header_says_and_seconds";
    if std::env::var_os(MEASURED).is_some() {
        measured(test, b"");
        return;
    }
    let interlaced: usize = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]
        .into_iter()
        .map(|(x, y)| (4000_usize.div_ceil(x) + 1) * 4000_usize.div_ceil(y))
        .sum();
    let turned = chunk(b"eXIf", &exif(4 << 20));
    let files: [(&str, Vec<u8>); 10] = [
        ("PNG of 8 bits", png([5400, 5400], [8, 2, 0], b"", &zeros(16_201 * 5400, 16_201, 4))),
        ("PNG of 16 bits and alpha", png([4000, 4000], [16, 6, 0], b"", &zeros(32_001 * 4000, 32_001, 4))),
        (
            "turned PNG with alpha and much EXIF",
            png([4000, 4000], [8, 6, 0], &turned, &zeros(16_001 * 4000, 16_001, 1)),
        ),
        ("interlaced PNG", png([4000, 4000], [8, 0, 1], b"", &zeros(interlaced, 1, 0))),
        ("JPEG", jpeg([4000, 4000], false, 0)),
        ("JPEG with a restart after each unit", jpeg([4000, 4000], false, 1)),
        ("progressive JPEG", jpeg([4000, 4000], true, 0)),
        ("JPEG of 100 scans", scans([6112, 6112], 100)),
        ("transparent GIF", transparent_gif([5000, 5000])),
        ("BMP", bmp([4000, 4000], 24, 48_000_000)),
    ];
    for (name, bytes) in files {
        let measured = measured(test, &bytes).unwrap();
        println!("{name}: {measured:?}");
        assert!(measured.is_image, "{name}");
        assert!(measured.estimate_mib <= 256.0, "{name}: {measured:?}");
        assert!(measured.mib < measured.estimate_mib + ROUNDING_MIB, "{name}: {measured:?}");
        // Otherwise the estimate says nothing.
        assert!(measured.mib > measured.estimate_mib / 3.0, "{name}: {measured:?}");
        assert!(measured.time < TIME, "{name}: {measured:?}");
    }
}
