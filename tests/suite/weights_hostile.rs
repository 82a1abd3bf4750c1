//! Hostile files of `torch.save`: errors that change nothing, run nothing and take little memory.

use crate::alone::alone;
use crate::memory::memory_mib;
use crate::weights_pytorch::{fixture, net, refused};
use densenet::Error;
use densenet::error::WeightsProblem;
use densenet::tch::{Device, Kind, nn::VarStore};
use densenet::weights::{LoadConfig, load};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;

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
    // What makes objects of classes makes none here.
    for pickle in [
        &b"\x80\x02c__main__\nA\n)\x81."[..],
        b"\x80\x02c__main__\nA\n)}\x92.",
        b"\x80\x02c__main__\nA\n)\x81}b.",
        b"\x80\x02c__main__\nA\n)R)R.",
        b"\x80\x02}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00bc__main__\nA\n)\x81u.",
    ] {
        assert_eq!(problem_of(pickle), WeightsProblem::NotAllowed("__main__.A".to_owned()), "{pickle:?}");
    }
    for pickle in [&b"\x80\x02(i__main__\nA\n."[..], b"\x80\x02\x82\x01."] {
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
        (b"\x80\x02X\xff\xff\xff\xffa.", "a long text that ends early"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.", "a very long text that ends early"),
        (b"\x80\x03B\xff\xff\xff\xffa.", "bytes that end early"),
        (b"\x80\x02\x8b\xff\xff\xff\xffa.", "a number that ends early"),
        (b"\x80\x02ccollections\nOrderedDict\n]N\x85\x85R.", "a dictionary of no pairs"),
        (b"\x80\x02ccollections\nOrderedDict\n](]Nee\x85R.", "a dictionary of halves of pairs"),
        (b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nh\x00NNN(tR.", "a tensor of a type of nothing"),
        (b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00h\x00N)Nt(h\x00N)NtR.", "a type in a type"),
        (b"\x80\x02N.", "nothing in it"),
        (b"\x80\x02].", "a list in it"),
    ] {
        assert!(matches!(problem_of(pickle), WeightsProblem::Damaged(_)), "{what}");
    }
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
        (4, 4, &[2, 2], &[0, 0]),
        (0, 0, &[2, 2], &[0, 0]),
        (4, 0, &[i32::MAX; 3], &[0; 3]),
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
    // An expanded tensor repeats values. Its shape has to be that of the variable, whose memory it takes then.
    assert_eq!(outcome(&one_tensor(4, 3, &[2, 2], &[0, 0]), &four).unwrap(), 16.0);
    assert_eq!(outcome(&one_tensor(4, 0, &[2, 2], &[0, 1]), &four).unwrap(), 6.0);
    assert_eq!(outcome(&one_tensor(4, 0, &[2, 2], &[1, 1]), &four).unwrap(), 8.0);
    for shape in [&[i32::MAX, i32::MAX][..], &[2, 3], &[2]] {
        let error = outcome(&one_tensor(4, 0, shape, &vec![0; shape.len()]), &four).unwrap_err();
        assert!(matches!(error, Error::Weights { problem: WeightsProblem::Shape { .. }, .. }), "{error:?}");
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
    assert!(matches!(refused(&path), WeightsProblem::Format { looks_like: Some(_) }));
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

/// A pickle that makes a dictionary of the same 50,000 pairs again and again.
fn of_many_dictionaries() -> Vec<u8> {
    let mut pickle = b"\x80\x02](".to_vec();
    pickle.extend(b"NN\x86".repeat(50_000));
    pickle.extend(b"e\x85q\x00ccollections\nOrderedDict\nq\x01");
    pickle.extend(b"h\x01h\x00R".repeat(200_000));
    pickle.push(b'.');
    pickle
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
fn no_file_takes_more_memory_than_the_limit() {
    if !alone("weights_hostile::no_file_takes_more_memory_than_the_limit") {
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
        ("objects of a long name", with_a_long_key(b"h\x00h\x00\x93)R", 180_000)),
        ("a list that becomes many dictionaries", of_many_dictionaries()),
        ("one value in a large shape", one_tensor(4, 0, &[i32::MAX, i32::MAX], &[0, 0])),
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
