//! Files that are cut at every place, or have any bit of theirs changed: an error, or an image within the limits.

use crate::image_folder::{png, write};
use densenet::Error;
use densenet::data::{
    BadFilePolicy, Cifar10, Color, Dataset, Image, ImageConfig, ImageHeader, ImageTable, Split, Targets,
};
use densenet::error::DataError;
use std::fs;
use std::path::Path;

/// A file of each kind that a decoder treats in its own way, with its name.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir("tests/fixtures/images")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "json"))
        // Those that are turned differ in one byte.
        .filter(|path| !path.to_str().unwrap().contains("turned-") || path.to_str().unwrap().contains("turned-6"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() > 40, "{}", files.len());
    files
}

/// Decodes a damaged file, and checks what comes of it.
fn decode(bytes: &[u8], what: &str) -> Option<Image> {
    let header = ImageHeader::read(bytes, Color::Rgb);
    match Image::decode(bytes, Color::Rgb) {
        Ok(image) => {
            let (header, [channels, height, width]) = (header.unwrap(), image.shape());
            assert!([[height, width], [width, height]].contains(&[header.height, header.width]), "{what}");
            assert!(height.max(width) <= 16_384 && header.memory <= 256 << 20, "{what}: {header:?}");
            assert_eq!(image.bytes().unwrap().len(), channels * height * width, "{what}");
            Some(image)
        }
        Err(Error::Data(DataError::Image { problem })) => {
            assert!(!problem.is_empty(), "{what}");
            None
        }
        Err(other) => panic!("{what}: {other:?}"),
    }
}

#[test]
fn an_image_that_is_cut_off_anywhere_is_an_error() {
    for (name, whole) in files() {
        let expected = Image::decode(&whole, Color::Rgb).unwrap();
        // The last chunk of a PNG, and the end of a compressed BMP, say only that they are the last.
        let mark = match &name[..] {
            _ if name.ends_with(".png") => 12,
            "runs-4.bmp" | "runs-8.bmp" => 2,
            _ => 0,
        };
        for length in 0..whole.len() {
            let what = format!("{name}, {length} of {}", whole.len());
            if let Some(image) = decode(&whole[..length], &what) {
                assert!(length >= whole.len() - mark && image == expected, "{what}");
            }
        }
    }
}

#[test]
fn an_image_with_any_changed_bit_is_an_error_or_an_image_within_the_limits() {
    let (mut errors, mut images) = (0, 0);
    for (name, whole) in files() {
        // Each bit of the beginning, and some of the rest: the headers are most of what can go wrong.
        let beginning = (0..whole.len().min(96)).flat_map(|place| (0..8).map(move |bit| (place, bit)));
        let rest = (96..whole.len()).step_by(2).map(|place| (place, place * 5 % 8));
        for (place, bit) in beginning.chain(rest) {
            let mut changed = whole.clone();
            changed[place] ^= 1 << bit;
            match decode(&changed, &format!("{name}, bit {bit} of byte {place}")) {
                Some(_) => images += 1,
                None => errors += 1,
            }
        }
    }
    println!("{errors} errors, {images} images");
    // Checksums and structure show about half of the damage; that of a pixel is none that a decoder could notice.
    assert!(errors > 10_000 && images > 10_000, "{errors} errors, {images} images");
}

fn open_cifar(folder: &Path, bytes: &[u8]) -> densenet::Result<Cifar10> {
    fs::write(folder.join("test_batch.bin"), bytes).unwrap();
    Cifar10::open_in(folder, Split::Test)
}

#[test]
fn a_cifar_file_that_is_cut_off_or_has_a_label_out_of_range_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let record = 3073;
    let mut whole: Vec<u8> = (0..2 * record).map(|place| (place % 251) as u8).collect();
    (whole[0], whole[record]) = (9, 4);
    for length in 0..=whole.len() {
        match open_cifar(folder.path(), &whole[..length]) {
            Ok(dataset) => assert!(length > 0 && dataset.len() * record == length, "{length}"),
            Err(Error::Data(DataError::Cifar { problem, .. })) => {
                assert!(length % record != 0 || length == 0, "{length}: {problem}");
            }
            Err(other) => panic!("{length}: {other:?}"),
        }
    }
    for (place, bit) in [0, record].into_iter().flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut changed = whole.clone();
        changed[place] ^= 1 << bit;
        let label = changed[place];
        match open_cifar(folder.path(), &changed) {
            Ok(dataset) => {
                let Targets::Classes(labels) = dataset.targets().unwrap() else { panic!("classes") };
                assert!(label < 10 && labels[place / record] == u32::from(label), "{label}");
            }
            Err(Error::Data(DataError::Cifar { problem, .. })) => {
                assert!(label >= 10 && problem.contains(&label.to_string()), "{label}: {problem}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_table_of_any_bytes_is_an_error_or_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["1.png", "2.png"] {
        write(folder.path(), name, &png(8, 8, [0, 0, 0]));
    }
    let path = folder.path().join("table.csv");
    let config = ImageConfig::new().with_bad_files(BadFilePolicy::Skip);
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match ImageTable::new(&path).open(&config) {
            Ok(images) => {
                assert!(!images.is_empty() && images.targets().is_ok());
                true
            }
            Err(Error::Data(_)) => false,
            Err(other) => panic!("{:?}: {other:?}", bytes.escape_ascii().to_string()),
        }
    };
    let whole = b"path,label\r\n\"1.png\",cat\n2.png,\"a \"\"dog\"\"\"\n";
    assert!(open(whole));
    let (mut errors, mut data_sets) = (0, 0);
    let mut count = |is_data_set: bool| if is_data_set { data_sets += 1 } else { errors += 1 };
    for place in 0..whole.len() {
        count(open(&whole[..place]));
        for bit in 0..8 {
            let mut changed = whole.to_vec();
            changed[place] ^= 1 << bit;
            count(open(&changed));
        }
    }
    // The bytes that mean something to a table, in any order.
    let alphabet = b"\",\n\r\0\xff\xef\xbb\xbf /.path,label\n1.png";
    let mut state = 7_u32;
    for length in 0..400 {
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            alphabet[(state >> 16) as usize % alphabet.len()]
        });
        count(open(&bytes.take(length).collect::<Vec<u8>>()));
    }
    assert!(errors > 100 && data_sets > 100, "{errors} errors, {data_sets} data sets");
}
