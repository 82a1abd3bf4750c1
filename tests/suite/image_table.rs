//! Tables of image files and their labels.

use crate::image_folder::{png, write};
use densenet::data::{BadFilePolicy, Dataset, ImageConfig, ImageTable, Targets};
use densenet::error::DataError;
use densenet::{Error, Result};
use std::fs;
use std::path::Path;

/// Writes a table beside the folder `photos` with two images.
fn table(root: &Path, text: &str) -> ImageTable {
    for name in ["1.png", "2.png", "3.png"] {
        write(root, &format!("photos/{name}"), &png(8, 8, [0, 0, 0]));
    }
    fs::write(root.join("pets.csv"), text).unwrap();
    ImageTable::new(root.join("pets.csv"))
}

fn classes(table: &ImageTable) -> (Vec<String>, Vec<u32>) {
    let images = table.open(&ImageConfig::new()).unwrap();
    let Targets::Classes(labels) = images.targets().unwrap() else { panic!("classes") };
    (images.classes().to_vec(), labels)
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> (Option<u64>, String) {
    match result.unwrap_err() {
        Error::Data(DataError::ImageTable { line, problem, .. }) => (line, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_names_files_and_labels_in_any_of_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}path,label,the breed\nphotos/2.png,dog,beagle\n\"photos/1.png\", cat ,\"siamese, blue\"\n";
    let table = table(folder.path(), text);
    assert_eq!(classes(&table), (vec!["cat".to_owned(), "dog".to_owned()], vec![1, 0]));
    let breeds = table.clone().with_label_column("the breed".to_owned());
    assert_eq!(classes(&breeds), (vec!["beagle".to_owned(), "siamese, blue".to_owned()], vec![0, 1]));
    let given = table.clone().with_classes(["dog", "bird", "cat"].map(str::to_owned).into());
    assert_eq!(classes(&given).1, [0, 2]);
    let images = table.open(&ImageConfig::new()).unwrap();
    assert!(images.paths()[0].ends_with("photos/2.png"));
}

#[test]
fn paths_are_relative_to_the_table_or_to_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "file;x\n").with_path_column("file".to_owned());
    fs::write(folder.path().join("pets.csv"), "file,label\n1.png,cat\n").unwrap();
    assert!(table.open(&ImageConfig::new()).is_err());
    let images = table.with_root(folder.path().join("photos")).open(&ImageConfig::new()).unwrap();
    assert_eq!((images.len(), images.sample_shape()), (1, &[3, 8, 8][..]));
}

#[test]
fn tables_that_cannot_be_used_are_errors_that_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let open = |text: &str| table(folder.path(), text).open(&ImageConfig::new());
    assert_eq!(
        message(open("path,class\nphotos/1.png,cat\n")),
        (Some(1), "it has no column \"label\", but \"path\", \"class\"".to_owned())
    );
    assert_eq!(message(open("path,label\nphotos/1.png,cat\nphotos/2.png,\n")).0, Some(3));
    assert_eq!(message(open("path,label\nphotos/1.png,cat\nphotos/2.png\n")).0, Some(3));
    assert_eq!(message(open("path,label\n\"photos/1.png,cat\n")).0, Some(2));
    let given = table(folder.path(), "path,label\nphotos/1.png,cow\n").with_classes(vec!["cat".to_owned()]);
    let (line, problem) = message(given.open(&ImageConfig::new()));
    assert!(line == Some(2) && problem.contains("cow") && problem.contains("cat"), "{problem}");
    assert!(matches!(open("path,label\n"), Err(Error::Data(DataError::EmptyDataset))));
    assert!(matches!(open(""), Err(Error::Data(DataError::ImageTable { .. }))));
    fs::write(folder.path().join("pets.csv"), b"path,label\nphotos/\xff.png,cat\n").unwrap();
    assert_eq!(message(ImageTable::new(folder.path().join("pets.csv")).open(&ImageConfig::new())).0, Some(2));
}

#[test]
fn missing_files_are_errors_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), "path,label\nphotos/none.png,cat\nphotos/2.png,dog\n");
    let error = table.open(&ImageConfig::new()).unwrap_err();
    assert!(
        matches!(&error, Error::Data(DataError::BadFiles { count: 1, path, .. }) if path.ends_with("none.png")),
        "{error}"
    );
    let images = table.open(&ImageConfig::new().with_bad_files(BadFilePolicy::Skip)).unwrap();
    assert_eq!((images.len(), images.bad_files().len()), (1, 1));
}
