//! IDX files: what is read, and that whatever can be wrong with one is a typed error.

use densenet::Error;
use densenet::data::{Dataset, IdxArray, IdxLimits, Targets, Values, open_idx_pair, read_idx};
use densenet::error::IdxProblem;
use densenet::ndarray::{ArrayD, IxDyn};
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Read, Write};
use std::path::Path;

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

fn read(bytes: &[u8]) -> densenet::Result<IdxArray> {
    IdxArray::from_reader(bytes, Path::new("some-file"), IdxLimits::new())
}

/// The problem of bytes that are wrong.
fn problem(bytes: &[u8]) -> IdxProblem {
    match read(bytes) {
        Err(Error::Idx { path, problem }) if path == Path::new("some-file") => problem,
        other => panic!("{other:?}"),
    }
}

fn array<T: Clone>(sizes: &[usize], values: &[T]) -> ArrayD<T> {
    ArrayD::from_shape_vec(IxDyn(sizes), values.to_vec()).unwrap()
}

#[test]
fn all_six_types_are_read_plain_and_compressed() {
    let cases = [
        (idx(0x08, &[3], &[0, 127, 255]), IdxArray::U8(array(&[3], &[0, 127, 255]))),
        (idx(0x09, &[3], &[0, 127, 255]), IdxArray::I8(array(&[3], &[0, 127, -1]))),
        (idx(0x0b, &[1, 2], &[1, 2, 0xff, 0xfe]), IdxArray::I16(array(&[1, 2], &[0x0102, -2]))),
        (idx(0x0c, &[1], &(-70_000_i32).to_be_bytes()), IdxArray::I32(array(&[1], &[-70_000]))),
        (idx(0x0d, &[1], &1.5_f32.to_be_bytes()), IdxArray::F32(array(&[1], &[1.5]))),
        (idx(0x0e, &[1, 1, 1], &(-0.1_f64).to_be_bytes()), IdxArray::F64(array(&[1, 1, 1], &[-0.1]))),
        (idx(0x08, &[2, 0, 3], &[]), IdxArray::U8(array(&[2, 0, 3], &[]))),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(&bytes).unwrap(), expected);
        assert_eq!(read(&gzip(&bytes)).unwrap(), expected);
    }
}

#[test]
fn data_of_many_chunks_are_read_in_order() {
    let values: Vec<i32> = (0..100_003).map(|i| i * 7919).collect();
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(read(&gzip(&idx(0x0c, &[100_003], &data))).unwrap(), IdxArray::I32(array(&[100_003], &values)));
}

#[test]
fn compression_is_told_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let plain = idx(0x08, &[2], &[5, 6]);
    for (name, bytes) in [("plain.gz", plain.clone()), ("compressed", gzip(&plain))] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read_idx(&path).unwrap(), IdxArray::U8(array(&[2], &[5, 6])));
    }
}

#[test]
fn file_cut_at_any_offset_is_an_error() {
    let plain = idx(0x0b, &[4, 5], &(0..40).collect::<Vec<_>>());
    for whole in [plain.clone(), gzip(&plain)] {
        assert!(read(&whole).is_ok());
        for length in 0..whole.len() {
            let error = read(&whole[..length]).unwrap_err();
            assert!(matches!(error, Error::Idx { .. } | Error::DamagedGzip { .. }), "{length}: {error:?}");
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
            Err(Error::Idx { .. } | Error::DamagedGzip { .. }) => errors += 1,
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
    too_large(&[0, u32::MAX, u32::MAX, u32::MAX], 0x08, 1); // nothing, but uncountable by ndarray's rules

    let limits = IdxLimits::new().with_max_bytes(5);
    let read = |size: u32, data: &[u8]| IdxArray::from_reader(&*idx(0x08, &[size], data), Path::new("f"), limits);
    assert!(read(5, &[0; 5]).is_ok());
    assert!(matches!(read(6, &[0; 6]), Err(Error::Idx { problem: IdxProblem::TooLarge { limit_bytes: 5, .. }, .. })));
}

#[test]
#[cfg(target_os = "linux")]
fn lying_header_gets_memory_for_the_data_that_come_not_for_what_it_promises() {
    /// The address space of this process in bytes.
    fn address_space() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
    }
    /// Hands out the bytes, and at their end notes how large the process is.
    struct Watched<'a>(&'a [u8], &'a mut u64);
    impl Read for Watched<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            if count == 0 {
                *self.1 = address_space();
            }
            Ok(count)
        }
    }
    // 2 GiB promised, 200,000 bytes there. Other tests run beside this one: the smallest growth of some counts.
    let lie = idx(0x08, &[2 << 30], &[7; 200_000]);
    let growth = (0..10).map(|_| {
        let (before, mut at_end) = (address_space(), 0);
        let result = IdxArray::from_reader(Watched(&lie, &mut at_end), Path::new("lie"), IdxLimits::new());
        let expected = IdxProblem::ShortData { expected: 2 << 30, actual: 200_000 };
        assert!(matches!(result, Err(Error::Idx { problem, .. }) if problem == expected));
        assert_ne!(at_end, 0);
        at_end.saturating_sub(before)
    });
    let smallest = growth.min().unwrap();
    assert!(smallest < 16 << 20, "{smallest} bytes for 200,000");
}

#[test]
fn web_page_under_the_name_of_a_gzip_file_is_recognized() {
    for page in ["<!DOCTYPE html><html></html>", "\n <html>", "\u{feff}<?xml version=\"1.0\"?>", "<Er"] {
        for bytes in [page.as_bytes().to_vec(), gzip(page.as_bytes())] {
            assert_eq!(problem(&bytes), IdxProblem::WebPage, "{page}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-images-idx3-ubyte.gz");
    std::fs::write(&path, "<!DOCTYPE html><title>Sign in</title>").unwrap();
    let text = read_idx(&path).unwrap_err().to_string();
    assert!(text.contains("train-images-idx3-ubyte.gz") && text.contains("web page"), "{text}");
}

#[test]
fn errors_of_the_system_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing.gz"), folder.path().to_owned()] {
        let error = read_idx(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// Opens two files of these contents; the error is of `samples` or `labels`.
fn open_pair(samples: &[u8], labels: &[u8], classes: usize) -> Result<impl Dataset + use<>, (String, IdxProblem)> {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["samples", "labels"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], samples).unwrap();
    std::fs::write(&paths[1], labels).unwrap();
    let names = vec!["a class"; classes];
    open_idx_pair(&paths[0], &paths[1], &names).map_err(|error| match error {
        Error::Idx { path, problem } => (path.file_name().unwrap().to_str().unwrap().to_owned(), problem),
        other => panic!("{other:?}"),
    })
}

#[test]
fn pair_of_files_becomes_a_data_set() {
    let labels = idx(0x08, &[2], &[1, 0]);
    let f32s: Vec<u8> = [0.5_f32, 1.5, 2.5, 3.5].iter().flat_map(|value| value.to_be_bytes()).collect();
    let cases = [
        (idx(0x08, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]), vec![1, 1, 3], Values::U8(vec![4, 5, 6])),
        (idx(0x08, &[2, 3, 1, 1], &[1, 2, 3, 4, 5, 6]), vec![3, 1, 1], Values::U8(vec![4, 5, 6])),
        (gzip(&idx(0x0d, &[2, 2], &f32s)), vec![2], Values::F32(vec![2.5, 3.5])),
    ];
    for (samples, shape, second) in cases {
        let dataset = open_pair(&samples, &labels, 2).unwrap();
        assert_eq!((dataset.len(), dataset.sample_shape(), dataset.classes().len()), (2, &*shape, 2));
        let batch = dataset.fetch(&[densenet::data::SampleKey { index: 1, epoch: 0, seed: 0, phase: densenet::data::Phase::Evaluation }]).unwrap();
        assert_eq!((batch.values, batch.targets), (second, Targets::Classes(vec![0])));
    }
}

#[test]
fn pair_that_does_not_fit_together_is_an_error_of_the_file_that_is_wrong() {
    let samples = idx(0x08, &[2, 1, 1], &[1, 2]);
    let of = |samples: &[u8], labels: &[u8]| open_pair(samples, labels, 10).map(|_| ()).unwrap_err();
    let (file, problem) = of(&samples, &idx(0x08, &[3], &[0, 1, 2]));
    assert!(matches!(problem, IdxProblem::CountsDiffer { samples: 2, labels: 3, .. }) && file == "labels");
    let (file, problem) = of(&samples, &idx(0x08, &[2], &[9, 10]));
    assert_eq!(problem, IdxProblem::LabelOutOfRange { position: 1, label: 10, classes: 10 });
    assert_eq!(file, "labels");
    let (file, problem) = of(&samples, &samples);
    assert_eq!((&*file, problem), ("labels", IdxProblem::LabelShape { kind: "u8", shape: vec![2, 1, 1] }));
    let (_, problem) = of(&samples, &idx(0x09, &[2], &[0, 1]));
    assert_eq!(problem, IdxProblem::LabelShape { kind: "i8", shape: vec![2] });

    let labels = idx(0x08, &[2], &[0, 1]);
    let (file, problem) = of(&labels, &labels);
    assert_eq!((&*file, problem), ("samples", IdxProblem::SampleShape { shape: vec![2] }));
    let (_, problem) = of(&idx(0x08, &[2, 0, 4], &[]), &labels);
    assert_eq!(problem, IdxProblem::SampleShape { shape: vec![2, 0, 4] });
    let (_, problem) = of(&idx(0x0b, &[2, 1, 1], &[0; 4]), &labels);
    assert_eq!(problem, IdxProblem::SampleType { kind: "i16" });
}
