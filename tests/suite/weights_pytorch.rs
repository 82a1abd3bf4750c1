//! Files of `torch.save`: a network's weights are loaded value by value, and damaged files change nothing.
//! `tests/fixtures/weights.py` writes the files.

use crate::golden::{fill, uniform};
use crate::passes::{Pass, assert_same, pairs};
use crate::variables::{bits, named_variables};
use densenet::error::WeightsProblem;
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::weights::{LoadConfig, LoadReport, inspect, load};
use densenet::{DenseNetConfig, Error, Result};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

/// Builds the net that the files are of, with other values than theirs.
pub fn net() -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    let net = DenseNetConfig::new(3).with_growth_rate(4).with_layers_per_block([2, 2]).with_initial_channels(8);
    net.with_bottleneck(2).build(&vs.root()).unwrap();
    vs
}

/// The variables by name.
fn values(vs: &VarStore) -> Pass {
    named_variables(vs).into_iter().map(|variable| (variable.name, variable.tensor.detach())).collect()
}

/// The variables with the values of the formula that the files were written by.
fn expected() -> Pass {
    let mut vs = net();
    vs.double();
    fill(&vs);
    vs.float();
    values(&vs)
}

fn loaded(path: &Path) -> (VarStore, Result<LoadReport>) {
    let vs = net();
    let outcome = load(&vs, path, &LoadConfig::new());
    (vs, outcome)
}

fn assert_loaded(name: &str) -> LoadReport {
    let (vs, outcome) = loaded(&fixture(name));
    let report = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_same(&values(&vs), &expected(), name);
    assert_eq!(report.loaded.len(), expected().len());
    assert!(report.missing.is_empty() && report.unexpected.is_empty() && report.kept.is_empty());
    report
}

#[test]
fn every_format_naming_prefix_and_memory_format_loads_value_by_value() {
    for name in ["zipped.pth", "legacy.pth", "protocol4.pth", "strided.pth", "parameters.pth"] {
        let report = assert_loaded(name);
        assert!(
            report.loaded.iter().all(|(variable, tensor)| variable == tensor) && report.converted.is_empty(),
            "{name}"
        );
        let counters = report.ignored.iter().all(|name| name.ends_with("num_batches_tracked"));
        assert!(counters && !report.ignored.is_empty(), "{:?}", report.ignored);
    }
    let report = assert_loaded("old_names.pth");
    let renamed: Vec<_> = report.loaded.iter().filter(|(variable, tensor)| variable != tensor).collect();
    // Four layers of two norms of four variables, and two kernels.
    assert_eq!(renamed.len(), 4 * (2 * 4 + 2));
    let report = assert_loaded("training.pth");
    assert!(report.loaded.iter().all(|(variable, tensor)| *tensor == format!("state_dict.module.{variable}")));
    assert!(report.ignored.iter().any(|name| name.contains("momentum_buffer")) || report.ignored.len() > 10);
}

#[test]
fn half_precision_in_the_file_leaves_the_variables_in_f32() {
    let (vs, outcome) = loaded(&fixture("half.pth"));
    let report = outcome.unwrap();
    assert!(report.converted.values().all(|conversion| conversion == "f16 to f32"), "{report:?}");
    assert_eq!(report.converted.len(), report.loaded.len());
    for (name, own, expected) in pairs(&values(&vs), &expected()) {
        assert_eq!(own.kind(), Kind::Float);
        assert!(own.equal(&expected.to_kind(Kind::Half).to_kind(Kind::Float)), "{name}");
    }
}

#[test]
fn inspection_lists_names_dtypes_and_shapes() {
    let tensors = inspect(fixture("legacy.pth")).unwrap();
    let conv = tensors.iter().find(|tensor| tensor.name == "features.conv0.weight").unwrap();
    assert_eq!((conv.dtype.as_str(), &conv.shape[..]), ("f32", &[8, 3, 7, 7][..]));
    let counter = tensors.iter().find(|tensor| tensor.name == "features.norm0.num_batches_tracked").unwrap();
    assert_eq!((counter.dtype.as_str(), &counter.shape[..]), ("i64", &[][..]));
}

/// Checks that loading fails and changes no variable, and returns the problem.
pub fn refused(path: &Path) -> WeightsProblem {
    let vs = net();
    let before = bits(&vs);
    let outcome = load(&vs, path, &LoadConfig::new());
    assert!(outcome.is_ok() || bits(&vs) == before);
    match outcome {
        Err(Error::Weights { problem, .. }) => problem,
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn a_pickled_model_is_refused_by_the_name_of_its_class() {
    let problem = refused(&fixture("model.pth"));
    assert_eq!(problem, WeightsProblem::NotAllowed("torchvision.models.densenet.DenseNet".to_owned()));
}

/// Replaces one byte of a file, which takes less time than to write the file again.
pub fn write_byte(path: &Path, place: usize, byte: u8) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(place as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn a_file_truncated_anywhere_or_with_a_flipped_bit_changes_nothing_or_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pth");
    for name in ["zipped.pth", "legacy.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        fs::write(&path, &whole).unwrap();
        for length in (0..whole.len()).step_by(13).rev() {
            File::options().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
            refused(&path);
        }
        fs::write(&path, &whole).unwrap();
        for place in (0..whole.len()).step_by(7) {
            write_byte(&path, place, whole[place] ^ 1 << (place % 8));
            let vs = net();
            let before = bits(&vs);
            match load(&vs, &path, &LoadConfig::new()) {
                Err(Error::Weights { .. }) => assert!(bits(&vs) == before, "{name}, byte {place}"),
                // A bit that is not read, or in a format without checksums a bit of a value.
                Ok(_) if name == "legacy.pth" => {}
                Ok(_) => assert_same(&values(&vs), &expected(), &format!("{name}, byte {place}")),
                Err(other) => panic!("{name}, byte {place}: {other:?}"),
            }
            write_byte(&path, place, whole[place]);
        }
    }
}

#[test]
fn a_flipped_bit_of_a_value_in_a_zipped_file_is_noticed() {
    let whole = fs::read(fixture("zipped.pth")).unwrap();
    let first = uniform(1, 0).double_value(&[0]);
    assert!(first.abs() < 0.5);
    let value = expected().into_iter().find(|(name, _)| name == "features.conv0.weight").unwrap().1;
    let needle: Vec<u8> =
        Vec::<f32>::try_from(value.contiguous().view(-1)).unwrap()[..4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let place =
        whole.windows(needle.len()).position(|window| window == needle).expect("the values are there as they are");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pth");
    for bit in 0..32 {
        let mut damaged = whole.clone();
        damaged[place + bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, damaged).unwrap();
        assert!(matches!(refused(&path), WeightsProblem::Damaged(_)));
    }
}

#[test]
fn equally_good_prefixes_are_an_error_until_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.safetensors");
    let tensors: Vec<_> = ["student", "teacher"]
        .into_iter()
        .flat_map(|part| {
            expected().into_iter().map(move |(name, tensor)| (format!("{part}.{name}"), tensor.contiguous()))
        })
        .collect();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Tensor::write_safetensors(&named, &path).unwrap();
    assert_eq!(refused(&path), WeightsProblem::Ambiguous { parts: ["student.", "teacher."].map(str::to_owned) });
    let vs = net();
    let report = load(&vs, &path, &LoadConfig::new().with_prefix("teacher.")).unwrap();
    assert!(
        report.loaded.values().all(|tensor| tensor.starts_with("teacher."))
            && report.ignored.len() == report.loaded.len()
    );
}
