//! Options of loading, and the report: which variables are loaded, kept, converted or warned of.

use crate::small_run::{built, net};
use crate::variables::bits;
use crate::weights_files::{refused, saved, trained, write};
use densenet::Error;
use densenet::error::{ConfigError, WeightsProblem};
use densenet::tch::{Device, Kind, Tensor, nn::ModuleT};
use densenet::weights::{LoadConfig, load, save_safetensors};
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;

#[test]
fn a_kept_head_stays_as_it_is_and_every_other_variable_is_loaded() {
    let case = saved();
    let other = net().with_classes(7);
    let (vs, _model) = built(&other);
    let before: BTreeMap<_, _> = bits(&vs).into_iter().collect();
    let report = load(&vs, &case.file, &LoadConfig::new().with_new_head()).unwrap();
    assert_eq!(report.kept, ["classifier.bias", "classifier.weight"]);
    assert_eq!(report.ignored, ["classifier.bias", "classifier.weight"]);
    let trained: BTreeMap<_, _> = bits(&trained(&net())).into_iter().collect();
    for (name, own) in bits(&vs) {
        assert!(own == if name.starts_with("classifier") { &before[&name] } else { &trained[&name] }[..], "{name}");
    }
    // A body that does not fit is not tolerated with it.
    let (vs, _model) = built(&other.with_growth_rate(5));
    let before = bits(&vs);
    assert!(load(&vs, &case.file, &LoadConfig::new().with_new_head()).is_err());
    assert!(bits(&vs) == before);
}

#[test]
fn a_head_of_several_layers_is_ignored_where_the_own_head_is_kept() {
    for prefix in ["", "module."] {
        let mut case = saved();
        case.tensors = case.tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
        for name in ["weight", "bias"].map(|name| format!("{prefix}classifier.{name}")) {
            let tensor = case.tensors.remove(&name).unwrap();
            case.tensors.insert(name.replace("classifier.", "classifier.0."), tensor);
        }
        case.tensors.insert(format!("{prefix}classifier.3.bias"), (Dtype::F32, vec![1], vec![0; 4]));
        write(&case.file, &case.tensors);
        let (vs, _model) = built(&net());
        let report = load(&vs, &case.file, &LoadConfig::new().with_new_head()).unwrap();
        let ignored = ["0.bias", "0.weight", "3.bias"].map(|name| format!("{prefix}classifier.{name}"));
        assert_eq!(report.ignored, ignored);
        assert_eq!(report.kept, ["classifier.bias", "classifier.weight"]);
        // Without the option they are unexpected.
        assert_eq!(refused(&case.file).0, format!("{prefix}classifier.0.bias"));
    }
}

#[test]
fn values_that_no_network_computes_with_are_warned_of_by_name() {
    let (variance, weight) = ("features.transition1.norm.running_var", "features.conv0.weight");
    let too_large = 1e300_f64;
    for (name, dtype, value, reason) in [
        (variance, Dtype::F32, f32::NAN.to_le_bytes().to_vec(), "values that are not finite"),
        (variance, Dtype::F32, (-0.5_f32).to_le_bytes().to_vec(), "negative variances"),
        (variance, Dtype::F64, too_large.to_le_bytes().to_vec(), "values that are not finite"),
        (weight, Dtype::F32, f32::INFINITY.to_le_bytes().to_vec(), "values that are not finite"),
    ] {
        let mut case = saved();
        let (_, shape, mut data) = case.tensors[name].clone();
        // The last value alone.
        if dtype == Dtype::F32 {
            data.truncate(data.len() - value.len());
            data.extend(value);
        } else {
            data = value.repeat(data.len() / 4);
        }
        case.tensors.insert(name.to_owned(), (dtype, shape, data));
        write(&case.file, &case.tensors);
        let (vs, _model) = built(&net());
        let report = load(&vs, &case.file, &LoadConfig::new()).unwrap();
        assert_eq!(report.warnings, BTreeMap::from([(name.to_owned(), reason.to_owned())]));
        assert!(report.to_string().ends_with(&format!("; warning: {name} has {reason}")), "{report}");
    }
    let case = saved();
    let (vs, _model) = built(&net());
    let report = load(&vs, &case.file, &LoadConfig::new()).unwrap();
    assert!(report.warnings.is_empty() && report.to_string().ends_with("0 ignored"), "{report}");
}

#[test]
fn a_stem_of_three_channels_is_summed_for_gray_images_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let colored = trained(&net().with_input_channels(3));
    save_safetensors(&colored, &file).unwrap();
    assert_eq!(refused(&file).0, "features.conv0.weight");
    let (vs, model) = built(&net());
    let report = load(&vs, &file, &LoadConfig::new().with_summed_stem()).unwrap();
    assert_eq!(report.converted.values().collect::<Vec<_>>(), ["3 channels summed"]);
    let gray = Tensor::rand([2, 1, 16, 16], (Kind::Float, Device::Cpu));
    let (other, of_colored) = built(&net().with_input_channels(3));
    load(&other, &file, &LoadConfig::new()).unwrap();
    let colored = of_colored.forward_t(&gray.expand([2, 3, 16, 16], false), false);
    let deviation = (model.forward_t(&gray, false) - &colored).abs().max() / colored.abs().max();
    assert!(deviation.double_value(&[]) < 1e-5, "{deviation}");
}

#[test]
fn non_strict_loading_takes_a_part_of_the_variables_if_it_is_large_enough() {
    let mut case = saved();
    let all = case.tensors.len();
    case.tensors.remove("features.norm5.bias");
    case.tensors.insert("another".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
    write(&case.file, &case.tensors);
    let non_strict = |min_percent| LoadConfig::new().non_strict(min_percent);
    let (vs, _model) = built(&net());
    let report = load(&vs, &case.file, &non_strict(90)).unwrap();
    assert_eq!((report.loaded.len(), &report.missing[..]), (all - 1, &["features.norm5.bias".to_owned()][..]));
    assert_eq!(report.unexpected, ["another"]);
    assert!(report.to_string().contains("1 missing, 1 unexpected"), "{report}");
    let (vs, _model) = built(&net());
    let before = bits(&vs);
    match load(&vs, &case.file, &non_strict(100)) {
        Err(Error::Weights { problem: WeightsProblem::Coverage { used, variables, percent: 100 }, .. }) => {
            assert_eq!((used, variables), (all - 1, all));
        }
        other => panic!("{other:?}"),
    }
    // A file of another network altogether is not "loaded" with nothing of it used.
    write(&case.file, &BTreeMap::from([("other.weight".to_owned(), (Dtype::F32, vec![1], vec![0; 4]))]));
    assert!(load(&vs, &case.file, &non_strict(1)).is_err());
    for percent in [0, 101] {
        assert!(matches!(
            load(&vs, &case.file, &non_strict(percent)),
            Err(Error::Config(ConfigError::InvalidValue { .. }))
        ));
    }
    assert!(bits(&vs) == before);
}
