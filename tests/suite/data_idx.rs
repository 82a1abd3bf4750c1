//! Pairs of IDX files: what becomes a data set, and that whatever can be wrong is a typed error.

use crate::idx_files::{gzip, idx};
use densenet::Error;
use densenet::data::{Dataset, InMemoryDataset, Phase, SampleKey, Targets, Values};
use densenet::error::IdxProblem;
use densenet::error::{DataError, IoError};

#[test]
fn web_page_under_the_name_of_a_gzip_file_is_recognized() {
    for page in ["<!DOCTYPE html><html></html>", "\n <html>", "\u{feff}<?xml version=\"1.0\"?>", "<Er"] {
        for bytes in [page.as_bytes().to_vec(), gzip(page.as_bytes())] {
            let error = open_pair(&bytes, &bytes, 1).err().unwrap();
            assert_eq!(error, ("samples".to_owned(), IdxProblem::WebPage), "{page}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-images-idx3-ubyte.gz");
    std::fs::write(&path, "<!DOCTYPE html><title>Sign in</title>").unwrap();
    let text = InMemoryDataset::open_idx(&path, &path, &[]).unwrap_err().to_string();
    assert!(text.contains("train-images-idx3-ubyte.gz") && text.contains("web page"), "{text}");
}

#[test]
fn errors_of_the_system_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing.gz"), folder.path().to_owned()] {
        let error = InMemoryDataset::open_idx(&path, &path, &[]).unwrap_err();
        assert!(matches!(&error, Error::Io(IoError::Failed { path: named, .. }) if *named == path), "{error:?}");
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
    InMemoryDataset::open_idx(&paths[0], &paths[1], &names).map_err(|error| match error {
        Error::Data(DataError::Idx { path, problem }) => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), problem)
        }
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
        let batch = dataset.fetch(&[SampleKey { index: 1, epoch: 0, seed: 0, phase: Phase::Evaluation }]).unwrap();
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
