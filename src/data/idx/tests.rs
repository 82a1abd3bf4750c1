//! Tests that every way in which an IDX file can be wrong is a typed error.

use super::*;
use crate::error::DataError;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// An IDX file of the type with this byte.
fn idx(kind: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<IdxArray> {
    IdxArray::read(bytes, Path::new("some-file"), MAX_BYTES)
}

/// The error of bytes that are wrong.
fn problem(bytes: &[u8]) -> IdxProblem {
    match read(bytes) {
        Err(Error::Data(DataError::Idx { path, problem })) if path == Path::new("some-file") => problem,
        other => panic!("{other:?}"),
    }
}

fn array(kind: &'static str, shape: &[usize], data: &[u8]) -> IdxArray {
    IdxArray { kind, shape: shape.to_vec(), data: data.to_vec() }
}

#[test]
fn all_six_types_are_read_plain_and_compressed() {
    let cases: [(u8, &'static str, &[usize], &[u8]); 7] = [
        (0x08, "u8", &[3], &[0, 127, 255]),
        (0x09, "i8", &[3], &[0, 127, 255]),
        (0x0b, "i16", &[1, 2], &[1, 2, 0xff, 0xfe]),
        (0x0c, "i32", &[1], &(-70_000_i32).to_be_bytes()),
        (0x0d, "f32", &[1], &1.5_f32.to_be_bytes()),
        (0x0e, "f64", &[1, 1, 1], &(-0.1_f64).to_be_bytes()),
        (0x08, "u8", &[2, 0, 3], &[]),
    ];
    for (code, kind, shape, data) in cases {
        let sizes: Vec<u32> = shape.iter().map(|&size| size as u32).collect();
        let (bytes, expected) = (idx(code, &sizes, data), array(kind, shape, data));
        assert_eq!(read(&bytes).unwrap(), expected);
        assert_eq!(read(&gzip(&bytes)).unwrap(), expected);
    }
}

#[test]
fn data_of_many_chunks_are_read_in_order() {
    let values: Vec<i32> = (0..100_003).map(|i| i * 7919).collect();
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(read(&gzip(&idx(0x0c, &[100_003], &data))).unwrap(), array("i32", &[100_003], &data));
}

#[test]
fn compression_is_told_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let plain = idx(0x08, &[2], &[5, 6]);
    for (name, bytes) in [("plain.gz", plain.clone()), ("compressed", gzip(&plain))] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = IdxArray::read(open(&path).unwrap(), &path, MAX_BYTES).unwrap();
        assert_eq!(read, array("u8", &[2], &[5, 6]));
    }
}

#[test]
fn file_cut_at_any_offset_is_an_error() {
    let plain = idx(0x0b, &[4, 5], &(0..40).collect::<Vec<_>>());
    for whole in [plain.clone(), gzip(&plain)] {
        assert!(read(&whole).is_ok());
        for length in 0..whole.len() {
            let error = read(&whole[..length]).unwrap_err();
            assert!(
                matches!(error, Error::Data(DataError::Idx { .. }) | Error::Data(DataError::DamagedGzip { .. })),
                "{length}: {error:?}"
            );
        }
    }
    assert_eq!(problem(&plain[..3]), IdxProblem::ShortHeader { bytes: 3 });
    assert_eq!(problem(&plain[..11]), IdxProblem::ShortHeader { bytes: 11 });
    assert_eq!(problem(&plain[..51]), IdxProblem::ShortData { expected: 40, actual: 39 });
}

#[test]
fn any_flipped_bit_of_a_gzip_file_is_an_error_or_leaves_the_data_as_they_are() {
    let data: Vec<u8> = (0..200_u32).map(|i| (i * i % 251) as u8).collect();
    let plain = idx(0x08, &[10, 20], &data);
    let whole = gzip(&plain);
    let expected = read(&plain).unwrap();
    let mut errors = 0;
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match read(&flipped) {
            Ok(array) => assert_eq!(array, expected, "bit {bit}"),
            Err(Error::Data(DataError::Idx { .. }) | Error::Data(DataError::DamagedGzip { .. })) => errors += 1,
            Err(error) => panic!("bit {bit}: {error:?}"),
        }
    }
    // Only time, flags and system of the ten bytes of header are without effect on the data.
    assert!(errors >= 8 * (whole.len() - 10), "{errors} of {} bits", 8 * whole.len());
}

#[test]
fn bytes_behind_the_data_are_an_error() {
    let plain = idx(0x08, &[2], &[5, 6, 7]);
    assert_eq!(problem(&plain), IdxProblem::TrailingBytes { expected: 2 });
    assert_eq!(problem(&gzip(&plain)), IdxProblem::TrailingBytes { expected: 2 });
}

#[test]
fn more_than_one_gzip_member_is_an_error() {
    let plain = idx(0x08, &[4], &[1, 2, 3, 4]);
    let two_halves = [gzip(&plain[..10]), gzip(&plain[10..])].concat();
    let whole_and_more = [gzip(&plain), gzip(b"more")].concat();
    assert_eq!(problem(&two_halves), IdxProblem::ShortData { expected: 4, actual: 2 });
    assert_eq!(problem(&whole_and_more), IdxProblem::SeveralGzipMembers);
    assert_eq!(problem(&[gzip(&plain), vec![0; 9]].concat()), IdxProblem::BytesAfterGzip);
    assert_eq!(problem(&[gzip(&plain), vec![0x1f]].concat()), IdxProblem::BytesAfterGzip);
}

#[test]
fn headers_that_mean_nothing_are_errors_with_their_values() {
    assert_eq!(problem(b"\x89PNG\r\n"), IdxProblem::NotIdx { magic: *b"\x89PNG" });
    assert_eq!(problem(&idx(0x0a, &[1], &[0])), IdxProblem::UnknownType { code: 0x0a });
    assert_eq!(problem(&idx(0x08, &[], &[0])), IdxProblem::NoDimensions);
    let text = read(&idx(0x0a, &[1], &[0])).unwrap_err().to_string();
    assert!(text.contains("some-file") && text.contains("0x0a"), "{text}");
}

#[test]
fn sizes_above_the_limit_or_above_all_numbers_are_errors() {
    let too_large = |sizes: &[u32], kind, bytes_each| {
        let expected = IdxProblem::TooLarge { sizes: sizes.to_vec(), bytes_each, limit_bytes: 2 << 30 };
        assert_eq!(problem(&idx(kind, sizes, &[1, 2, 3])), expected);
    };
    too_large(&[(2 << 30) + 1], 0x08, 1);
    too_large(&[1 << 29], 0x0e, 8);
    too_large(&[u32::MAX; 2], 0x08, 1);
    too_large(&[1 << 31, 1 << 31, 4, 4], 0x08, 1); // 2⁶⁶, which is 0 in 64 bits
    too_large(&[u32::MAX; 255], 0x0e, 8);
    too_large(&[0, u32::MAX, u32::MAX, u32::MAX], 0x08, 1); // nothing, but uncountable without the 0

    let read = |size: u32, data: &[u8]| IdxArray::read(&*idx(0x08, &[size], data), Path::new("f"), 5);
    assert!(read(5, &[0; 5]).is_ok());
    assert!(matches!(
        read(6, &[0; 6]),
        Err(Error::Data(DataError::Idx { problem: IdxProblem::TooLarge { limit_bytes: 5, .. }, .. }))
    ));
}

#[test]
#[cfg(target_os = "linux")]
fn lying_header_gets_memory_for_the_data_that_come_not_for_what_it_promises() {
    /// The address space of this process in bytes.
    fn address_space() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
    }
    /// Returns the bytes, and at their end records the size of the process.
    struct Observed<'a>(&'a [u8], &'a mut u64);
    impl Read for Observed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            if count == 0 {
                *self.1 = address_space();
            }
            Ok(count)
        }
    }
    // The header declares 2 GiB, and there are 200,000 bytes. Other tests run beside this one: the smallest growth of
    // some counts.
    let lie = idx(0x08, &[2 << 30], &[7; 200_000]);
    let growth = (0..10).map(|_| {
        let (before, mut at_end) = (address_space(), 0);
        let result = IdxArray::read(Observed(&lie, &mut at_end), Path::new("lie"), MAX_BYTES);
        let expected = IdxProblem::ShortData { expected: 2 << 30, actual: 200_000 };
        assert!(matches!(result, Err(Error::Data(DataError::Idx { problem, .. })) if problem == expected));
        assert_ne!(at_end, 0);
        at_end.saturating_sub(before)
    });
    let smallest = growth.min().unwrap();
    assert!(smallest < 16 << 20, "{smallest} bytes for 200,000");
}
