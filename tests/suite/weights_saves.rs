//! What PyTorch saves, this crate loads: files of every option of `torch.save`, compared value by value with what
//! `torch.load` reads. `tests/fixtures/saves.py` writes them; `tests/interchange/saves` tests thousands of them.

use crate::weights_pytorch::write_byte;
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::weights::{LoadConfig, inspect, load};
use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// What `torch.load` read: tensors by name, of which those that are no floats have no values.
type Loaded = BTreeMap<String, Option<Tensor>>;

/// The bytes of the file of this name among those of the fixture, or of the one that the environment names.
fn saves() -> Vec<u8> {
    let fixture = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights/saves.safetensors.gz");
    let path = std::env::var_os("DENSENET_SAVES").map_or_else(fixture, Into::into);
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn tensor(view: &TensorView) -> Option<Tensor> {
    let kind = match view.dtype() {
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    };
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    Some(Tensor::f_from_data_size(view.data(), &shape, kind).unwrap().to_kind(Kind::Double))
}

/// Builds a variable in f64, which holds each value of every other dtype, for each tensor of floats.
fn variables(loaded: &Loaded) -> VarStore {
    let mut vs = VarStore::new(Device::Cpu);
    for (name, tensor) in loaded {
        let Some(tensor) = tensor else { continue };
        let (folder, own) = name.rsplit_once('.').unwrap_or(("", name));
        let folder = folder.split('.').filter(|part| !part.is_empty()).fold(vs.root(), |path, part| path / part);
        let _ = folder.zeros_no_train(own, &tensor.size());
    }
    vs.double();
    vs
}

/// Loads a file, and describes how it differs from what `torch.load` read.
fn difference(path: &Path, loaded: &Loaded) -> Result<(), String> {
    let vs = variables(loaded);
    let listed: BTreeSet<_> = inspect(path).map_err(|error| error.to_string())?.into_iter().map(|t| t.name).collect();
    if !listed.iter().eq(loaded.keys()) {
        return Err(format!("{listed:?} are listed, and not {:?}", loaded.keys()));
    }
    // Non-strict, since the file may have tensors of integers too.
    let report = load(&vs, path, &LoadConfig::new().non_strict(100)).map_err(|error| error.to_string())?;
    let variables = vs.variables();
    if report.loaded.len() != variables.len() {
        return Err(format!("{report}"));
    }
    for (name, tensor) in &variables {
        let expected = loaded[name].as_ref().unwrap();
        if tensor.size() != expected.size() || !tensor.equal(expected) {
            return Err(format!("{name} is {tensor:?}"));
        }
    }
    Ok(())
}

/// All files by name, each with its bytes and what `torch.load` read.
fn all(saves: &[u8]) -> BTreeMap<String, (Vec<u8>, Loaded)> {
    let mut all: BTreeMap<String, (Vec<u8>, Loaded)> = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(saves).unwrap().tensors() {
        if let Some(file) = name.strip_prefix("file/") {
            all.entry(file.to_owned()).or_default().0 = view.data().to_vec();
        } else {
            let (file, own) = name.strip_prefix("loaded/").unwrap().split_once('/').unwrap();
            all.entry(file.to_owned()).or_default().1.insert(own.to_owned(), tensor(&view));
        }
    }
    all
}

#[test]
fn every_file_that_torch_save_writes_loads_as_torch_load_reads_it() {
    let all = all(&saves());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.pth");
    let outcomes = all.iter().filter_map(|(name, (bytes, loaded))| {
        fs::write(&path, bytes).unwrap();
        Some(format!("{name}: {}", difference(&path, loaded).err()?))
    });
    let failures: Vec<String> = outcomes.collect();
    println!("{} of {} files load as torch.load reads them", all.len() - failures.len(), all.len());
    assert!(failures.is_empty(), "{} of {} files:\n{}", failures.len(), all.len(), failures.join("\n"));
}

#[test]
fn a_tensor_that_is_not_read_is_an_error_where_a_variable_needs_it() {
    let (bytes, mut loaded) = all(&saves()).remove("dtypes-2-7-crc").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.pth");
    fs::write(&path, bytes).unwrap();
    loaded.retain(|name, _| name == "weight");
    for (name, problem) in [
        ("sparse", "it needs torch._utils._rebuild_sparse_tensor, which is not read"),
        ("quantized", "it needs torch._utils._rebuild_qtensor, which is not read"),
        ("meta", "it needs torch._utils._rebuild_meta_tensor_no_storage, which is not read"),
        ("uint16", "it needs torch.uint16, which is not read"),
        ("complex", "its dtype is complexfloat, which no weights have"),
    ] {
        let mut wanted: Loaded =
            loaded.iter().map(|(name, tensor)| (name.clone(), tensor.as_ref().map(Tensor::shallow_clone))).collect();
        wanted.insert(
            name.to_owned(),
            Some(Tensor::zeros(if name == "uint16" { &[3][..] } else { &[2, 2] }, (Kind::Double, Device::Cpu))),
        );
        let vs = variables(&wanted);
        let text = load(&vs, &path, &LoadConfig::new().non_strict(1)).unwrap_err().to_string();
        assert!(text.ends_with(&format!("{name}: {problem}")), "{text}");
        assert!(is_zero(&vs));
    }
}

/// Whether no variable has changed: they are zeros when they are built.
fn is_zero(vs: &VarStore) -> bool {
    vs.variables().values().all(|tensor| i64::try_from(tensor.count_nonzero_dim_intlist([].as_slice())).unwrap() == 0)
}

#[test]
fn a_saved_file_without_checksums_and_with_a_flipped_bit_loads_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.pth");
    let mut outcomes = [0; 2];
    for (name, (bytes, loaded)) in all(&saves()) {
        if !["-2-7-none", "-4-7-none", "legacy-objects-2", "legacy-training-4", "python2-False"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        fs::write(&path, &bytes).unwrap();
        // The pickle comes first.
        for place in (0..bytes.len().min(6000)).step_by(7) {
            write_byte(&path, place, bytes[place] ^ 1 << (place % 8));
            let vs = variables(&loaded);
            let outcome = load(&vs, &path, &LoadConfig::new().non_strict(100));
            outcomes[usize::from(outcome.is_ok())] += 1;
            assert!(outcome.is_ok() || is_zero(&vs), "{name}, byte {place}: {outcome:?}");
            write_byte(&path, place, bytes[place]);
        }
    }
    assert!(outcomes.iter().all(|&count| count > 1000), "{outcomes:?}");
}
