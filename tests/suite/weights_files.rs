//! Weights saved and loaded: all of them, bit for bit, or an error and none.

use crate::small_run::{built, net};
use crate::variables::{bits, named_variables};
use densenet::error::IoError;
use densenet::error::WeightsProblem;
use densenet::tch::{Kind, nn::VarStore, no_grad};
use densenet::weights::{LoadConfig, load, save_safetensors};
use densenet::{DenseNetConfig, Error};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A net whose variables differ from a new one's in every value.
pub fn trained(net: &DenseNetConfig) -> VarStore {
    let (vs, _model) = built(net);
    for mut variable in named_variables(&vs) {
        let value = &variable.tensor * 1.5 + 0.25;
        no_grad(|| variable.tensor.copy_(&value));
    }
    vs
}

/// The tensors of a file by name: dtype, shape and bytes.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(file: &Path) -> Tensors {
    let bytes = fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let own = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    tensors.tensors().into_iter().map(|(name, view)| (name, own(view))).collect()
}

pub fn write(file: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub struct Case {
    _folder: tempfile::TempDir,
    pub file: PathBuf,
    pub tensors: Tensors,
}

/// Saves a trained net.
pub fn saved() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    save_safetensors(&trained(&net()), &file).unwrap();
    let tensors = read(&file);
    Case { _folder: folder, file, tensors }
}

/// Checks that loading fails and changes no variable, and returns the tensor that the error names, with its message.
pub fn refused(file: &Path) -> (String, String) {
    let (vs, _model) = built(&net());
    let before = bits(&vs);
    let error = load(&vs, file, &LoadConfig::new()).unwrap_err();
    assert!(bits(&vs) == before, "{error}");
    let text = error.to_string();
    let Error::Weights { path, problem } = error else { panic!("{error:?}") };
    assert_eq!(path, file);
    let tensor = match problem {
        WeightsProblem::Missing { tensors } | WeightsProblem::Unexpected { tensors } => tensors[0].clone(),
        WeightsProblem::Shape { tensor, .. } | WeightsProblem::Tensor { tensor, .. } => tensor,
        WeightsProblem::Damaged(_) => return ("the file".to_owned(), text),
        other => panic!("{other:?}"),
    };
    assert!(text.contains(&tensor), "{text}");
    (tensor, text)
}

#[test]
fn what_was_saved_loads_bit_for_bit() {
    let case = saved();
    let (vs, _model) = built(&net());
    let new = bits(&vs);
    load(&vs, &case.file, &LoadConfig::new()).unwrap();
    assert!(bits(&vs) == bits(&trained(&net())));
    assert!(bits(&vs).iter().zip(&new).all(|(loaded, new)| loaded != new), "every variable was another before");
    assert!(named_variables(&vs).iter().any(|variable| variable.trainable), "what was trained can be trained on");

    let again = case.file.with_file_name("again.safetensors");
    save_safetensors(&vs, &again).unwrap();
    assert_eq!(fs::read(&again).unwrap(), fs::read(&case.file).unwrap(), "equal variables give equal bytes");
    let names: Vec<_> = named_variables(&vs).into_iter().map(|variable| variable.name).collect();
    assert_eq!(case.tensors.keys().cloned().collect::<Vec<_>>(), names);
}

#[test]
fn a_missing_tensor_is_an_error_whichever_it_is() {
    let case = saved();
    for name in case.tensors.keys() {
        let mut tensors = case.tensors.clone();
        tensors.remove(name);
        write(&case.file, &tensors);
        let (tensor, text) = refused(&case.file);
        assert_eq!(&tensor, name);
        assert!(text.contains("missing"), "{text}");
    }
}

#[test]
fn an_unexpected_tensor_is_an_error() {
    for name in ["a.first", "zzz.last", "classifier.weight_g", "module.classifier.weight"] {
        let mut case = saved();
        case.tensors.insert(name.to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
        write(&case.file, &case.tensors);
        assert_eq!(refused(&case.file).0, name);
    }
}

#[test]
fn another_shape_is_an_error_even_where_the_values_would_fit() {
    let case = saved();
    // Sorted by name, a norm's running variance is the last of all.
    let names = ["classifier.bias", "classifier.weight", "features.transition1.norm.running_var"];
    for name in names {
        let (dtype, shape, data) = case.tensors[name].clone();
        let one_more = [vec![1], shape.clone()].concat();
        let flat = vec![shape.iter().product(), 1];
        for (shape, data) in [(one_more, data.clone()), (flat, data), (vec![1], vec![0; 4]), (vec![], vec![0; 4])] {
            let mut tensors = case.tensors.clone();
            tensors.insert(name.to_owned(), (dtype, shape.clone(), data));
            write(&case.file, &tensors);
            let (tensor, text) = refused(&case.file);
            assert_eq!(tensor, name);
            assert!(text.contains(&format!("{shape:?}")), "{text}");
        }
    }
    let mut five_classes = net();
    five_classes.classes = 5;
    save_safetensors(&trained(&five_classes), &case.file).unwrap();
    assert_eq!(refused(&case.file).0, "classifier.bias");
}

#[test]
fn a_dtype_that_is_no_float_is_an_error_and_other_floats_are_converted() {
    let case = saved();
    let name = "features.transition1.norm.running_var";
    let (_, shape, data) = case.tensors[name].clone();
    let mut tensors = case.tensors.clone();
    tensors.insert(name.to_owned(), (Dtype::BOOL, shape.clone(), vec![1; data.len() / 4]));
    write(&case.file, &tensors);
    let (tensor, text) = refused(&case.file);
    assert!(tensor == name && text.contains("bool"), "{text}");

    // 1.5 in f64 and in half precision.
    let count = data.len() / 4;
    for (dtype, value) in
        [(Dtype::F64, 1.5_f64.to_le_bytes().to_vec()), (Dtype::F16, 0x3E00_u16.to_le_bytes().to_vec())]
    {
        tensors.insert(name.to_owned(), (dtype, shape.clone(), value.repeat(count)));
        write(&case.file, &tensors);
        let (vs, _model) = built(&net());
        let report = load(&vs, &case.file, &LoadConfig::new()).unwrap();
        assert_eq!((report.converted.len(), report.warnings.len()), (1, 0));
        let variable = vs.variables().remove(name).unwrap();
        assert_eq!(variable.kind(), Kind::Float, "the model's own dtype stays");
        assert_eq!(Vec::<f32>::try_from(variable).unwrap(), vec![1.5; count]);
    }
}

#[test]
fn a_file_that_is_truncated_or_of_another_format_is_an_error() {
    let case = saved();
    let whole = fs::read(&case.file).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let lengths = (0..16).chain([header - 1, header, header + 1, whole.len() / 2, whole.len() - 1]);
    for length in lengths {
        fs::write(&case.file, &whole[..length]).unwrap();
        assert_eq!(refused(&case.file).0, "the file", "{length} bytes");
    }
    let longer = [whole.as_slice(), b"more"].concat();
    let lying = [&u64::MAX.to_le_bytes(), &whole[8..]].concat();
    for bytes in [longer, lying] {
        fs::write(&case.file, bytes).unwrap();
        assert_eq!(refused(&case.file).0, "the file");
    }
}

/// A safetensors file of this header and these bytes.
fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn hostile_headers_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.safetensors");
    let one =
        |shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
    let entry = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let many: Vec<String> =
        (0..65_537).map(|n| format!(r#""{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    for (what, header, data) in [
        ("a name twice", format!("{{{entry},{entry}}}"), &[0; 4][..]),
        ("65,537 tensors", format!("{{{}}}", many.join(",")), &[]),
        ("nine dimensions", one("[1,1,1,1,1,1,1,1,1]", "[0,4]"), &[0; 4]),
        ("a product that overflows", one("[4294967296,4294967296]", "[0,4]"), &[0; 4]),
        ("a tensor that ends before it begins", one("[1]", "[4,0]"), &[0; 4]),
        ("a gap before the first tensor", one("[1]", "[4,8]"), &[0; 8]),
        ("a shape that is not as long as its bytes", one("[2]", "[0,4]"), &[0; 4]),
        ("an end beyond the file", one("[1000000]", "[0,4000000]"), &[0; 4]),
        ("bytes of no tensor", one("[1]", "[0,4]"), &[0; 8]),
        ("a negative size", one("[-1]", "[0,4]"), &[0; 4]),
        ("no object", "[]".to_owned(), &[]),
        ("no JSON", "{".to_owned(), &[]),
        ("deep JSON", "[".repeat(1 << 20), &[]),
        ("a header of 17 MiB", format!("{{{entry}}}{}", " ".repeat(17 << 20)), &[0; 4]),
    ] {
        fs::write(&file, with_header(&header, data)).unwrap();
        assert_eq!(refused(&file).0, "the file", "{what}");
    }
    fs::write(&file, with_header(&format!("{{{entry}}}"), &[0; 4])).unwrap();
    assert_eq!(refused(&file).0, "a", "what they are variations of is a file");
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_an_error_that_names_it() {
    let case = saved();
    let (vs, _model) = built(&net());
    let before = bits(&vs);
    let folder = case.file.parent().unwrap();
    for path in [folder.join("missing"), case.file.join("below"), folder.to_owned()] {
        let error = load(&vs, &path, &LoadConfig::new()).unwrap_err();
        assert!(
            matches!(&error, Error::Io(IoError::Failed { action: "read", path: named, .. }) if *named == path),
            "{error:?}"
        );
    }
    for path in [folder.join("missing/file"), case.file.join("below"), folder.to_owned()] {
        let error = save_safetensors(&vs, &path).unwrap_err();
        assert!(
            matches!(&error, Error::Io(IoError::Failed { action: "write", path: named, .. }) if *named == path),
            "{error:?}"
        );
    }
    assert!(bits(&vs) == before);
    assert_eq!(read(&case.file), case.tensors);
}
