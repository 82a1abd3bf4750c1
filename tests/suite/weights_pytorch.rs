//! Files of `torch.save`: what PyTorch writes is loaded value by value, and damaged or hostile files
//! change nothing. `tests/fixtures/weights.py` writes the files.

use crate::alone::alone;
use crate::golden::{fill, uniform};
use crate::memory::memory_mib;
use crate::passes::{Pass, assert_same, pairs};
use crate::variables::{bits, named_variables};
use densenet::error::WeightsProblem;
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::weights::{LoadConfig, LoadReport, inspect, load};
use densenet::{DenseNetConfig, Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

/// Builds the net that the files are of, with other values than theirs.
fn net() -> VarStore {
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
fn refused(path: &Path) -> WeightsProblem {
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

#[test]
fn a_file_truncated_anywhere_or_with_a_flipped_bit_changes_nothing_or_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pth");
    for name in ["zipped.pth", "legacy.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(13) {
            fs::write(&path, &whole[..length]).unwrap();
            refused(&path);
        }
        for place in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            fs::write(&path, &damaged).unwrap();
            let vs = net();
            let before = bits(&vs);
            match load(&vs, &path, &LoadConfig::new()) {
                Err(Error::Weights { .. }) => assert!(bits(&vs) == before, "{name}, byte {place}"),
                // A bit that is not read, or in a format without checksums a bit of a value.
                Ok(_) if name == "legacy.pth" => {}
                Ok(_) => assert_same(&values(&vs), &expected(), &format!("{name}, byte {place}")),
                Err(other) => panic!("{name}, byte {place}: {other:?}"),
            }
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

/// Writes a zip archive with these entries.
fn zipped(path: &Path, entries: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// The pickle of `{"a": tensor}` with a tensor of this layout in a storage of `len` f32 values.
fn one_tensor(len: u32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    pickle.extend(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ");
    pickle.extend(len.to_le_bytes());
    pickle.extend(b"tQJ");
    pickle.extend(offset.to_le_bytes());
    for numbers in [shape, strides] {
        pickle.push(b'(');
        numbers.iter().for_each(|number| pickle.extend([&b"J"[..], &number.to_le_bytes()].concat()));
        pickle.push(b't');
    }
    pickle.extend(b"\x89NtRs.");
    pickle
}

#[test]
fn hostile_pickles_are_errors_and_nothing_they_name_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let (path, proof) = (folder.path().join("hostile.pth"), folder.path().join("proof"));
    let problem_of = |pickle: &[u8]| {
        zipped(&path, &[("a/data.pkl", pickle), ("a/data/0", &[0; 16])]);
        refused(&path)
    };
    let command = format!("touch {}", proof.display());
    let call = |function: &str| {
        let mut pickle = format!("\u{0}\u{0}c{function}\n").into_bytes();
        pickle[..2].copy_from_slice(b"\x80\x02");
        pickle.push(b'X');
        pickle.extend((command.len() as u32).to_le_bytes());
        pickle.extend(command.bytes());
        pickle.extend(b"\x85R.");
        pickle
    };
    for (function, named) in [
        ("posix\nsystem", "posix.system"),
        ("builtins\neval", "builtins.eval"),
        ("torch\nload", "torch.load"),
        ("torch._utils\n_rebuild_device_tensor_from_numpy", "torch._utils._rebuild_device_tensor_from_numpy"),
    ] {
        assert_eq!(problem_of(&call(function)), WeightsProblem::NotAllowed(named.to_owned()));
    }
    assert!(!proof.exists());
    // The same by the operation that takes names from the stack.
    let stacked = b"\x80\x04\x8c\x05posix\x8c\x06system\x93)R.";
    assert_eq!(problem_of(stacked), WeightsProblem::NotAllowed("posix.system".to_owned()));
    // What makes objects of classes is not read at all.
    for pickle in [&b"\x80\x02ccollections\nOrderedDict\n)\x81."[..], b"\x80\x02(i__main__\nA\n.", b"\x80\x02\x82\x01."]
    {
        assert!(matches!(problem_of(pickle), WeightsProblem::Damaged(_)), "{pickle:?}");
    }
    for (pickle, what) in [
        (&b""[..], "nothing"),
        (b"\x80\x02", "no end"),
        (b"\x80\x02.", "nothing on the stack"),
        (b"\x80\x02t.", "a tuple without a beginning"),
        (b"\x80\x02N(0.", "a mark that is taken for a value"),
        (b"\x80\x02Na.", "an item for what is no list"),
        (b"\x80\x02h\x07.", "a memory of nothing"),
        (b"\x80\x02X\xff\xff\x00\x00a.", "a text that ends early"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "a text that is none"),
        (b"\x80\x02cno end of line", "a name that ends early"),
        (b"\x80\x02NNR.", "a call of nothing"),
        (b"\x80\x02NQ.", "a storage of nothing"),
        (b"\x80\x02ctorch\nSize\nNR.", "a call without arguments"),
    ] {
        assert!(matches!(problem_of(pickle), WeightsProblem::Damaged(_)), "{what}");
    }
    assert!(matches!(problem_of(b"\x80\x02X\xff\xff\xff\xffa."), WeightsProblem::TooLarge { .. }));
}

#[test]
fn tensors_that_do_not_lie_in_their_storage_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.pth");
    let outcome = |pickle: &[u8], storage: &[u8]| {
        zipped(&path, &[("a/data.pkl", pickle), ("a/data/0", storage)]);
        let vs = VarStore::new(Device::Cpu);
        let mut a = vs.root().zeros("a", &[2, 2]);
        let outcome = load(&vs, &path, &LoadConfig::new());
        let sum = a.sum(Kind::Float).double_value(&[]);
        let _ = a.requires_grad_(false);
        outcome.map(|_| sum)
    };
    let four: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(outcome(&one_tensor(4, 0, &[2, 2], &[2, 1]), &four).unwrap(), 10.0);
    assert_eq!(outcome(&one_tensor(4, 0, &[2, 2], &[1, 2]), &four).unwrap(), 10.0);
    for (len, offset, shape, strides) in [
        (4, 1, &[2, 2][..], &[2, 1][..]),
        (4, 0, &[2, 3], &[3, 1]),
        (4, 0, &[2, 2], &[2, 2]),
        (3, 0, &[2, 2], &[2, 1]),
        (4, 0, &[2, 2], &[2]),
        (4, -1, &[2, 2], &[2, 1]),
        (4, 0, &[2, -2], &[2, 1]),
        (4, 0, &[2, 2], &[-2, 1]),
        (4, 0, &[i32::MAX, i32::MAX], &[i32::MAX, i32::MAX]),
        // One value many times: a few bytes would fill any memory.
        (4, 0, &[i32::MAX, i32::MAX], &[0, 0]),
        (4, 0, &[1; 9], &[1; 9]),
    ] {
        let error = outcome(&one_tensor(len, offset, shape, strides), &four).unwrap_err();
        let own = matches!(
            error,
            Error::Weights {
                problem: WeightsProblem::Tensor { .. } | WeightsProblem::Damaged(_) | WeightsProblem::TooLarge { .. },
                ..
            }
        );
        assert!(own, "{len} {offset} {shape:?} {strides:?}: {error:?}");
    }
    let fits = one_tensor(4, 0, &[2, 2], &[2, 1]);
    for storage in [&four[..12], &[&four[..], &[0; 4]].concat(), &[]] {
        assert!(outcome(&fits, storage).is_err(), "{} bytes", storage.len());
    }
    zipped(&path, &[("a/data.pkl", &fits)]);
    assert!(matches!(refused(&path), WeightsProblem::Unexpected { .. }));
}

#[test]
fn archives_of_something_else_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.pth");
    zipped(&path, &[("readme.txt", b"hello")]);
    assert_eq!(refused(&path), WeightsProblem::Format);
    zipped(&path, &[("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", b"\x80\x02}.")]);
    assert!(matches!(refused(&path), WeightsProblem::Damaged(_)));
    zipped(&path, &[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"big")]);
    assert!(matches!(refused(&path), WeightsProblem::Damaged(_)));
    zipped(&path, &[("a/data.pkl", b"\x80\x02}.")]);
    assert!(matches!(refused(&path), WeightsProblem::Missing { .. }));
    for bytes in [&b""[..], b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"#!/bin/sh\n", &[0xff; 4096]] {
        fs::write(&path, bytes).unwrap();
        refused(&path);
    }
}

/// A pickle that repeats an operation `times` times.
fn of_many(operation: &[u8], times: usize) -> Vec<u8> {
    [b"\x80\x02", &operation.repeat(times)[..], b"."].concat()
}

/// A pickle with three nested long keys around 50,000 short ones, all of one tensor.
fn long_names() -> Vec<u8> {
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let tensor = one_tensor(4, 0, &[2, 2], &[2, 1]);
    // Without the dictionary around it: what makes the tensor.
    let tensor = &tensor[9..tensor.len() - 2];
    let long = text(&"k".repeat(60_000));
    let mut pickle = [&b"\x80\x02"[..], tensor, b"q\x000"].concat();
    for _ in 0..3 {
        pickle.extend([&b"}"[..], &long].concat());
    }
    pickle.extend(b"}(");
    (0..50_000).for_each(|number: u32| pickle.extend([&text(&number.to_string())[..], b"h\x00"].concat()));
    pickle.extend(b"usss.");
    pickle
}

#[test]
fn names_that_are_long_or_nested_are_errors_soon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names");
    for name in ["denselayer.norm.1.".repeat(5000), "a.".repeat(1 << 20), "x".repeat(1025)] {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}}}"#);
        fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
        assert!(matches!(refused(&path), WeightsProblem::Damaged(_)));
    }
    let started = std::time::Instant::now();
    let header = format!(r#"{{"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}}}"#, "a.".repeat(512));
    fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
    assert!(matches!(refused(&path), WeightsProblem::Unexpected { .. }));
    assert!(started.elapsed().as_secs() < 5);
    zipped(&path, &[("a/data.pkl", &long_names()), ("a/data/0", &[0; 16])]);
    assert!(matches!(refused(&path), WeightsProblem::TooLarge { .. }));
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

#[test]
fn no_file_takes_more_memory_than_the_limit() {
    if !alone("weights_pytorch::no_file_takes_more_memory_than_the_limit") {
        return;
    }
    let peak = || memory_mib("VmHWM").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.pth");
    let text = [&b"X\x00\x00\x01\x00"[..], &[b'a'; 1 << 16]].concat();
    let with_a_long_key = |per_storage: &[u8], times: usize| {
        let mut pickle = [&b"\x80\x02"[..], &text, b"q\x00"].concat();
        pickle.extend(per_storage.repeat(times));
        pickle.push(b'.');
        pickle
    };
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nh\x00NK\x01tQ";
    let bombs = [
        ("many values", of_many(b"N", 15 << 20)),
        ("many dictionaries", of_many(b"}", 15 << 20)),
        ("many marks", of_many(b"(", 15 << 20)),
        ("the same value many times", [&b"\x80\x02Nq\x00"[..], &b"h\x00".repeat(7 << 20), b"."].concat()),
        ("a deep nest", of_many(b"\x85", 15 << 20).into_iter().collect()),
        ("a deep nest of something", [&b"\x80\x02N"[..], &b"\x85".repeat(900_000), b"."].concat()),
        ("a list in itself", b"\x80\x02]q\x00h\x00a.".to_vec()),
        ("a dictionary in itself", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec()),
        ("long texts", of_many(&text, 250)),
        ("a long key of many storages", with_a_long_key(storage, 200_000)),
        ("a large pickle", vec![b'N'; 64 << 20]),
        ("a long memory", [&b"\x80\x04N"[..], &b"\x94".repeat(15 << 20), b"."].concat()),
        ("long names of many tensors", long_names()),
    ];
    net();
    let before = peak();
    for (what, pickle) in &bombs {
        zipped(&path, &[("a/data.pkl", pickle)]);
        refused(&path);
        // Values of 64 bytes or so, a million of them, and what they are read from.
        assert!(peak() - before < 300.0, "{what}: {:.0} MiB", peak() - before);
    }
    // Sizes that lie: a header of safetensors, and a storage of a legacy file.
    let mut lies = vec![(1_u64 << 60).to_le_bytes().to_vec(), ((16_u64 << 20) - 1).to_le_bytes().to_vec()];
    let mut legacy = fs::read(fixture("legacy.pth")).unwrap();
    // The number of values of the first convolution.
    let at = legacy.windows(8).position(|window| window == (8_u64 * 3 * 7 * 7).to_le_bytes()).unwrap();
    legacy[at..at + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    lies.push(legacy);
    for bytes in lies {
        fs::write(&path, bytes).unwrap();
        refused(&path);
        assert!(peak() - before < 300.0, "{:.0} MiB", peak() - before);
    }
}
