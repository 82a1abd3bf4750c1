//! Fashion-MNIST: found, verified, and not confused with its relatives.

use crate::idx_files::idx;
use crate::real_data::real_data;
use densenet::Error;
use densenet::data::{Dataset, FashionMnist, Split, Targets, Values};
use densenet::error::DataError;
use densenet::error::IdxProblem;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn classes(dataset: &FashionMnist) -> &[u32] {
    match &dataset.in_memory().samples().targets {
        Targets::Classes(classes) => classes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn real_data_are_complete_and_balanced() {
    let first = [(Split::Train, 60_000, [9, 0, 0, 3, 0, 2, 7, 2]), (Split::Test, 10_000, [9, 2, 1, 1, 6, 1, 4, 6])];
    for (split, len, first_labels) in first {
        let Some(dataset) = real_data(split) else { return };
        assert_eq!((dataset.split(), dataset.len(), dataset.sample_shape()), (split, len, &[1, 28, 28][..]));
        assert_eq!(dataset.classes(), FashionMnist::CLASSES);
        assert_eq!(classes(&dataset)[..8], first_labels);
        assert_eq!(dataset.targets().unwrap(), dataset.in_memory().samples().targets);
        let mut counts = [0; 10];
        classes(&dataset).iter().for_each(|&class| counts[class as usize] += 1);
        assert_eq!(counts, [len / 10; 10]);
        assert!(matches!(&dataset.in_memory().samples().values, Values::U8(pixels) if pixels.len() == len * 784));
    }
}

/// The test split's files, decompressed, with their names.
fn real_test_files() -> Option<[(&'static str, Vec<u8>); 2]> {
    let dataset = real_data(Split::Test)?;
    let read = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let mut plain = Vec::new();
        match bytes.starts_with(&[0x1f, 0x8b]) {
            true => GzDecoder::new(&*bytes).read_to_end(&mut plain).map(|_| plain).unwrap(),
            false => bytes,
        }
    };
    let (images, labels) = (read(dataset.images_path()), read(dataset.labels_path()));
    Some([("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)])
}

#[test]
fn layouts_of_other_programs_are_found() {
    let Some(files) = real_test_files() else { return };
    let same = |name: &str| PathBuf::from(name);
    let dotted = |name: &str| PathBuf::from(name.replacen("-idx", ".idx", 1));
    let nested = |name: &str| Path::new("FashionMNIST/raw").join(name);
    // By content, a plain file under a compressed one's name is fine too.
    let compressed = |name: &str| PathBuf::from(format!("{name}.gz"));
    let layouts: [&dyn Fn(&str) -> PathBuf; 4] = [&same, &dotted, &nested, &compressed];
    for layout in layouts {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            let path = folder.path().join(layout(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let dataset = FashionMnist::open_in(folder.path(), Split::Test).unwrap();
        assert_eq!(dataset.images_path(), folder.path().join(layout(files[0].0)));
        assert_eq!(dataset.len(), 10_000);
    }
}

#[test]
fn one_changed_pixel_is_noticed() {
    let Some([(images_name, mut images), (labels_name, labels)]) = real_test_files() else { return };
    let folder = tempfile::tempdir().unwrap();
    images[5_000_000] ^= 1;
    fs::write(folder.path().join(images_name), images).unwrap();
    fs::write(folder.path().join(labels_name), labels).unwrap();
    let error = FashionMnist::open_in(folder.path(), Split::Test).unwrap_err();
    assert!(matches!(&error, Error::Data(DataError::OtherContent { name, .. }) if name == images_name), "{error:?}");
}

/// A folder with intact files of this many images under Fashion-MNIST's training names.
fn relative(count: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let images = idx(0x08, &[count, 28, 28], &vec![3; 784 * count as usize]);
    let labels = idx(0x08, &[count], &vec![7; count as usize]);
    fs::write(folder.path().join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(folder.path().join("train-labels-idx1-ubyte"), labels).unwrap();
    folder
}

#[test]
fn another_data_set_under_the_same_names_is_a_typed_error() {
    for count in [20, 60_000] {
        let folder = relative(count);
        let error = FashionMnist::open_in(folder.path(), Split::Train).unwrap_err();
        let Error::Data(DataError::OtherContent { path, .. }) = &error else { panic!("{error:?}") };
        assert_eq!(*path, folder.path().join("train-images-idx3-ubyte"));
        let text = error.to_string();
        assert!(text.contains("another data set") && text.contains("Fashion-MNIST"), "{text}");
    }
}

#[test]
fn web_page_instead_of_the_images_is_a_typed_error() {
    let folder = relative(1);
    let path = folder.path().join("train-images-idx3-ubyte.gz");
    fs::write(&path, "<html>404</html>").unwrap();
    match FashionMnist::open_in(folder.path(), Split::Train).unwrap_err() {
        Error::Data(DataError::Idx { path: named, problem: IdxProblem::WebPage }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_data_are_an_error_that_lists_places_and_remedies() {
    let empty = tempfile::tempdir().unwrap();
    let images_only = relative(1);
    fs::remove_file(images_only.path().join("train-labels-idx1-ubyte")).unwrap();
    for folder in [empty.path(), images_only.path(), Path::new("no/such/folder")] {
        let error = FashionMnist::open_in(folder, Split::Train).unwrap_err();
        let Error::Data(DataError::DatasetNotFound { looked_in, .. }) = &error else { panic!("{error:?}") };
        assert_eq!(looked_in, &[folder]);
        let text = error.to_string();
        let needed = ["Fashion-MNIST", "dataset-fashion-mnist", "--data", "DENSENET_DATA", "download"];
        assert!(needed.iter().all(|part| text.contains(part)) && text.contains(folder.to_str().unwrap()), "{text}");
    }
}
