//! Model bundles: what is saved is read again, and what a file of unknown origin says is checked before it is built.

use crate::small_run::{images, net, trainer};
use crate::variables::bits;
use densenet::data::{Image, Values};
use densenet::error::WeightsProblem;
use densenet::nn::Dropout;
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::{Device, nn::VarStore};
use densenet::train::{Datasets, SaveWeights};
use densenet::weights::{Bundle, LoadConfig, inspect, load, save_safetensors};
use densenet::{DenseNetConfig, Error, Preprocess, Result, TrainConfig};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn bundle() -> Bundle {
    Bundle::new(net().with_dropout(Dropout::new(0.125)))
        .with_classes(["cat", "dog", "\u{1f40e}", "T-shirt/top"])
        .with_preprocess(Preprocess::new().with_normalize([0.1], [0.3]))
        .with_image_size([16, 20])
}

fn variables(config: &DenseNetConfig) -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    config.build(&vs.root()).unwrap();
    vs
}

/// A folder with a bundle in it, and the bundle's path.
fn saved(bundle: &Bundle) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    bundle.save(&variables(&bundle.config), &path).unwrap();
    (folder, path)
}

fn problem<T: std::fmt::Debug>(result: Result<T>) -> WeightsProblem {
    match result {
        Err(Error::Weights { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_is_read_as_it_was_saved_and_its_file_is_one_of_weights() {
    let (folder, path) = saved(&bundle());
    let vs = variables(&bundle().config.with_seed(9));
    bundle().save(&vs, &path).unwrap();
    assert_eq!(Bundle::read(&path).unwrap(), bundle());
    let (opened, own, model) = Bundle::open(&path, Device::Cpu).unwrap();
    assert_eq!((opened, model.config()), (bundle(), &bundle().config));
    assert_eq!(bits(&own), bits(&vs));
    let loaded = variables(&bundle().config);
    load(&loaded, &path, &LoadConfig::new()).unwrap();
    assert_eq!(bits(&loaded), bits(&vs));
    assert_eq!(inspect(&path).unwrap().len(), vs.variables().len());
    // In the order of the keys, whatever a hash map's is.
    let bytes = fs::read(&path).unwrap();
    for number in 0..8 {
        let again = folder.path().join(format!("{number}.safetensors"));
        bundle().save(&vs, &again).unwrap();
        assert!(fs::read(&again).unwrap() == bytes, "equal bundles are equal files");
    }
    let header = header(&bytes);
    assert_eq!(header["__metadata__"]["format"], "pt", "PyTorch's readers look for it");
}

#[test]
fn a_stored_bundle_of_the_first_version_is_still_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights/bundle.safetensors");
    let (bundle, vs, _) = Bundle::open(path, Device::Cpu).unwrap();
    assert_eq!(bundle, tiny());
    assert_eq!(vs.variables().len(), variables(&tiny().config).variables().len());
}

/// The bundle of the stored file.
fn tiny() -> Bundle {
    let config = DenseNetConfig::new(2)
        .with_input_channels(1)
        .with_initial_channels(2)
        .with_growth_rate(1)
        .with_layers_per_block([1, 1]);
    let preprocess = Preprocess::new().with_size([32, 32]).with_normalize([0.5], [0.25]);
    Bundle::new(config).with_classes(["cat", "dog"]).with_preprocess(preprocess).with_image_size([28, 28])
}

#[test]
fn plain_weights_are_no_bundle_and_the_error_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.safetensors");
    save_safetensors(&variables(&net()), &path).unwrap();
    for error in [Bundle::read(&path).map(drop), Predictor::open(&path).map(drop)] {
        let text = error.as_ref().unwrap_err().to_string();
        assert!(text.contains("plain.safetensors") && text.contains("Bundle::save"), "{text}");
        assert_eq!(problem(error), WeightsProblem::NoBundle);
    }
    assert!(Bundle::read(folder.path().join("absent")).unwrap_err().is_io());
}

#[test]
fn a_description_that_does_not_fit_is_refused_before_it_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let vs = variables(&net());
    let plain = || Bundle::new(net());
    for (bundle, words) in [
        (plain().with_classes(["a", "b"]), "2 names for 4 outputs"),
        (plain().with_classes(["a", "b", "c", &"d".repeat(2000)]), "2000 bytes"),
        (plain().with_image_size([0, 16]), "0×16"),
        (plain().with_image_size([16, 99_999]), "99999"),
        (plain().with_image_size([16_384, 16_384]), "2²⁴"),
        (plain().with_image_size([2, 2]), "2×2"),
        (plain().with_preprocess(Preprocess::new().with_size([0, 16])), "0×16"),
        (plain().with_preprocess(Preprocess::new().with_normalize([0.5; 3], [0.5; 3])), "3 means"),
        (plain().with_preprocess(Preprocess::new().with_normalize([f64::NAN], [0.5])), "NaN"),
        (Bundle::new(net().with_compression(7.0)), "compression"),
    ] {
        let text = bundle.save(&vs, &path).unwrap_err().to_string();
        assert!(text.contains(words), "{words}: {text}");
    }
    let other = Bundle::new(net().with_layers_per_block([2, 3])).save(&vs, &path);
    assert!(matches!(problem(other), WeightsProblem::Missing { .. }));
    let other = Bundle::new(net().with_layers_per_block([2])).save(&vs, &path);
    assert!(matches!(problem(other), WeightsProblem::Shape { .. } | WeightsProblem::Unexpected { .. }));
    let other = Bundle::new(net().with_classes(5)).save(&vs, &path);
    assert!(matches!(problem(other), WeightsProblem::Shape { .. }));
    assert!(!path.exists());
}

fn header(file: &[u8]) -> Value {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[8..8 + length]).unwrap()
}

/// The file with another header.
fn with_header(file: &[u8], header: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat()
}

/// Writes the file with another description, and reads it.
fn described(path: &Path, description: &str) -> Result<Bundle> {
    let file = fs::read(path).unwrap();
    let mut header = header(&file);
    header["__metadata__"]["densenet"] = json!(description);
    let other = path.with_file_name("other.safetensors");
    fs::write(&other, with_header(&file, &header.to_string())).unwrap();
    Bundle::read(&other)
}

#[test]
fn what_a_hostile_description_says_is_an_error_before_anything_is_built() {
    let (_folder, path) = saved(&bundle());
    let text = header(&fs::read(&path).unwrap())["__metadata__"]["densenet"].as_str().unwrap().to_owned();
    let good: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(described(&path, &text).unwrap(), bundle());
    let changed = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        changed.to_string()
    };
    let added = |pointer: &str| {
        let mut changed = good.clone();
        changed.pointer_mut(pointer).unwrap()["other"] = json!(1);
        changed.to_string()
    };
    let large = 1_u64 << 40;
    let started = Instant::now();
    for (description, words) in [
        (changed("/version", json!(2)), "version 2"),
        (changed("/version", json!("1")), "version"),
        (changed("/version", json!(-1)), "version"),
        (changed("/version", json!(1.5)), "version"),
        (changed("/bundle", json!([])), "metadata"),
        (changed("/bundle/classes", json!("cat")), "string"),
        (changed("/bundle/classes", json!([1, 2, 3, 4])), "integer"),
        (changed("/bundle/classes", json!(["a"])), "1 names for 4 outputs"),
        (changed("/bundle/classes", json!(vec!["a"; 100_000])), "100000 names"),
        (changed("/bundle/classes/1", json!("x".repeat(1025))), "1025 bytes"),
        (changed("/bundle/classes/1", json!("x".repeat(5 << 20))), "at most 4194304"),
        (changed("/bundle/config/classes", json!(3)), "4 names for 3 outputs"),
        (changed("/bundle/config/classes", json!(-3)), "-3"),
        (changed("/bundle/config/growth_rate", json!(5)), "shape"),
        (changed("/bundle/config/growth_rate", json!(0)), "growth rate"),
        (changed("/bundle/config/growth_rate", json!(large)), ""),
        (changed("/bundle/config/initial_channels", json!(large)), ""),
        (changed("/bundle/config/initial_channels", json!(100_000)), "shape"),
        (changed("/bundle/config/layers_per_block", json!([large, 1])), "layers per block"),
        (changed("/bundle/config/layers_per_block", json!([u64::MAX, u64::MAX])), "layers per block"),
        (changed("/bundle/config/layers_per_block", json!(vec![0; 500_000])), "layers per block"),
        (changed("/bundle/config/layers_per_block", json!([3, 2])), "missing"),
        (changed("/bundle/config/layers_per_block", json!([2])), ""),
        (changed("/bundle/config/compression", json!(0.25)), "shape"),
        (changed("/bundle/config/compression", json!(2.0)), "compression"),
        (changed("/bundle/config/stem/kernel", json!(large)), "kernel"),
        (changed("/bundle/config/stem/padding", json!(1000)), "padding"),
        (changed("/bundle/config/stem/stride", json!(0)), "stride"),
        (changed("/bundle/config/norm/epsilon", json!(-1.0)), "epsilon"),
        (changed("/bundle/config/dropout/rate", json!(2.0)), "drop rate"),
        (changed("/bundle/preprocess/normalize/std", json!([0.0])), "positive standard deviations"),
        (changed("/bundle/preprocess/normalize/mean", json!([0.1, 0.2])), "2 means"),
        (changed("/bundle/preprocess/normalize/mean", json!([null])), "null"),
        (changed("/bundle/preprocess/resize", json!([0, 5])), "size"),
        (changed("/bundle/preprocess/resize", json!([large, 5])), ""),
        (changed("/bundle/preprocess/resize", json!([16_000, 16_000])), "2²⁴"),
        (changed("/bundle/image_size", json!([16])), "array"),
        (changed("/bundle/image_size", json!([1, 1])), "1×1"),
        (added(""), "other"),
        (added("/bundle"), "other"),
        (added("/bundle/config"), "bundle.config.other"),
        (added("/bundle/config/stem"), "bundle.config.stem.other"),
        (text.replacen("0.3", "1e999", 1), "number out of range"),
        (text.replacen("\"version\":1", "\"version\":1,\"version\":1", 1), "twice"),
        (text.replacen("\"growth_rate\":4", "\"growth_rate\":5,\"growth_rate\":4", 1), "twice"),
        (text[..text.len() - 1].to_owned(), "EOF"),
        (text.clone() + "}", "trailing"),
        (String::new(), "EOF"),
        ("[".repeat(100_000), "recursion"),
        ("null".to_owned(), "no version"),
    ] {
        let shown = &description[..description.len().min(300)];
        let error = described(&path, &description).err().unwrap_or_else(|| panic!("it was read: {shown}"));
        let text = error.to_string();
        assert!(text.contains("other.safetensors") && text.contains(words), "{words:?}: {text}\n{shown}");
    }
    // A network of the largest numbers would take minutes and all memory; reading a header takes milliseconds.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // A key of the metadata twice, of which readers would take either.
    let file = fs::read(&path).unwrap();
    let twice = header(&file).to_string().replacen("\"format\":\"pt\"", "\"densenet\":\"{}\",\"format\":\"pt\"", 1);
    fs::write(&path, with_header(&file, &twice)).unwrap();
    let text = Bundle::read(&path).unwrap_err().to_string();
    assert!(text.contains("__metadata__.densenet") && text.contains("twice"), "{text}");
}

#[test]
fn a_bundle_cut_anywhere_is_an_error_and_one_with_a_flipped_bit_describes_its_own_tensors_or_is_one() {
    let (_folder, path) = saved(&tiny());
    let file = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let damaged = path.with_file_name("damaged.safetensors");
    for length in (0..header + 64).chain((header + 64..file.len()).step_by(97)) {
        fs::write(&damaged, &file[..length]).unwrap();
        assert!(Bundle::read(&damaged).is_err(), "{length} bytes");
    }
    let (mut refused, mut read) = (0, 0);
    for (place, bit) in (0..header).flat_map(|place| (place % 3..8).step_by(3).map(move |bit| (place, bit))) {
        let mut flipped = file.clone();
        flipped[place] ^= 1 << bit;
        fs::write(&damaged, &flipped).unwrap();
        match Bundle::open(&damaged, Device::Cpu) {
            Err(_) => refused += 1,
            // A letter of a class, or a digit of a mean or of a seed: there is no checksum. It can be saved again.
            Ok((bundle, vs, _)) => {
                bundle.save(&vs, &damaged).unwrap();
                let names =
                    |vs: &VarStore| bits(vs).into_iter().map(|(name, bits)| (name, bits.len())).collect::<Vec<_>>();
                assert_eq!(names(&vs), names(&variables(&tiny().config)));
                read += 1;
            }
        }
    }
    println!("{refused} refused, {read} read");
    assert!(refused > 4 * read, "{refused} {read}");
}

#[test]
fn weights_that_a_run_saves_with_the_description_are_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let bundle = Bundle::new(net()).with_image_size([16, 16]);
    let (key, value) = bundle.metadata().unwrap();
    let save = SaveWeights::to(&path).with_metadata(key, value).with_metadata("format", "np");
    let mut trainer = trainer(TrainConfig::new(1)).with_callback(save);
    trainer.fit(&Datasets::new(&images(64, 0))).unwrap();
    let (read, vs, _) = Bundle::open(&path, Device::Cpu).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(bits(&vs), bits(trainer.var_store()));
    assert_eq!(header(&fs::read(&path).unwrap())["__metadata__"]["format"], "pt");
}

#[test]
fn a_predictor_of_a_bundle_has_its_classes_and_its_preprocessing_whatever_the_configuration_says() {
    let (_folder, path) = saved(&bundle());
    let image = |shape: [usize; 3]| {
        let values = (0..shape.iter().product::<usize>()).map(|i| (i * 7 % 256) as u8).collect();
        Image::new(shape, Values::U8(values)).unwrap()
    };
    #[cfg(feature = "images")]
    let prepared =
        |image: Image| image.fit([16, 20], densenet::data::Fit::Crop, densenet::data::Interpolation::Bilinear).unwrap();
    #[cfg(not(feature = "images"))]
    let prepared = |image: Image| image;
    let (_, _, model) = Bundle::open(&path, Device::Cpu).unwrap();
    let preprocess = Preprocess::new().with_normalize([0.1], [0.3]).with_size([16, 20]);
    let predict = PredictConfig::default().with_device(Device::Cpu);
    let by_hand = Predictor::start(model, PredictorConfig::new(predict.clone().with_preprocess(preprocess))).unwrap();
    let other = PredictorConfig::new(predict.with_preprocess(Preprocess::new().with_size([99, 99])));
    let other = other.with_classes(vec!["wrong".to_owned()]).with_sample_shape([3, 1, 1]);
    for opened in [Predictor::open(&path).unwrap(), Predictor::open_with(&path, other).unwrap()] {
        for shape in [[1, 16, 20], [1, 40, 31]] {
            let prediction = opened.predict(image(shape)).unwrap();
            assert_eq!(prediction.outputs, by_hand.predict(prepared(image(shape))).unwrap().outputs);
            assert_eq!(prediction.name(3), Some("T-shirt/top"));
        }
        let error = opened.predict(image([3, 16, 20])).unwrap_err();
        assert!(matches!(error, Error::Input(_) | Error::Config(_)), "{error:?}");
    }
}

#[cfg(feature = "images")]
#[test]
fn an_image_is_prepared_for_a_prediction_as_for_an_evaluation() {
    use densenet::data::{Fit, Interpolation};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let vs = variables(&net());
    let fit = Fit::CenterCrop { resize_size: 20 };
    Bundle::new(net()).with_image_size([16, 16]).with_fit(fit).save(&vs, &path).unwrap();
    assert_eq!(Bundle::read(&path).unwrap().fit, fit);
    let image = Image::new([1, 50, 70], Values::U8((0..3500).map(|at| (at * 7 % 251) as u8).collect())).unwrap();
    let fitted = image.fit([16, 16], fit, Interpolation::Bilinear).unwrap();
    assert_eq!(fitted.shape(), [1, 16, 16]);
    let outputs = |path, image| Predictor::open(path).unwrap().predict(image).unwrap().outputs;
    // A predictor that takes an image of the size as it is.
    let plain = folder.path().join("plain.safetensors");
    Bundle::new(net()).with_image_size([16, 16]).save(&vs, &plain).unwrap();
    assert_eq!(outputs(&path, image.clone()), outputs(&plain, fitted));
    assert_ne!(outputs(&path, image.clone()), outputs(&plain, image));
    let invalid = Bundle::new(net()).with_image_size([16, 16]).with_fit(Fit::CenterCrop { resize_size: 8 });
    assert!(invalid.metadata().unwrap_err().to_string().starts_with("resize size is 8"));
}
