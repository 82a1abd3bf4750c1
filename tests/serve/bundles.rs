//! Any model bundle is served and predicted with, and nothing else is.

use crate::server::{JSON, png, request, serve_bundle};
use densenet::tch::{Device, nn::VarStore};
use densenet::weights::{Bundle, save_safetensors};
use densenet::{DenseNetConfig, Preprocess};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A small network of color images in two classes.
fn color() -> Bundle {
    let config = DenseNetConfig::new(2).with_initial_channels(8).with_growth_rate(4).with_layers_per_block([1, 1]);
    Bundle::new(config)
        .with_classes(["cat", "dog\u{1b}[31m"])
        .with_preprocess(Preprocess::new().with_normalize([0.4, 0.5, 0.6], [0.2; 3]))
        .with_image_size([32, 40])
}

fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let mut command = Command::new(tests.parent().unwrap().with_file_name("examples").join(name));
    command.env("OMP_NUM_THREADS", "1");
    command
}

fn saved(folder: &Path, bundle: &Bundle) -> PathBuf {
    let (path, vs) = (folder.join("model.safetensors"), VarStore::new(Device::Cpu));
    bundle.config.build(&vs.root()).unwrap();
    bundle.save(&vs, &path).unwrap();
    path
}

#[test]
fn a_network_of_color_images_is_served_in_the_size_of_its_training() {
    let server = serve_bundle(&color(), &[], "unlimited");
    for (kind, body) in [
        ("image/png", png(57)),
        (JSON, json!({ "shape": [3, 10, 10], "pixels": vec![0.5; 300] }).to_string().into_bytes()),
    ] {
        let (status, response) = request(server.address, "POST", "/predict", kind, &body);
        assert_eq!(status, 200, "{kind}: {response}");
        assert_eq!(response["predictions"].as_array().unwrap().len(), 2);
    }
    let gray = json!({ "shape": [1, 10, 10], "pixels": vec![0.5; 100] }).to_string();
    assert_eq!(request(server.address, "POST", "/predict", JSON, gray.as_bytes()).0, 422);
}

#[test]
fn plain_weights_are_not_served_and_the_error_says_how_to_make_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let (path, vs) = (folder.path().join("plain.safetensors"), VarStore::new(Device::Cpu));
    color().config.build(&vs.root()).unwrap();
    save_safetensors(&vs, &path).unwrap();
    for output in [
        example("serve").args(["--listen", "127.0.0.1:0", "--weights"]).arg(&path).output().unwrap(),
        example("predict").arg(&path).arg("image.png").output().unwrap(),
    ] {
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains("Bundle::save"), "{text}");
    }
}

#[test]
fn files_and_folders_are_predicted_and_what_is_no_image_is_named_and_does_not_end_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let model = saved(folder.path(), &color());
    let images = folder.path().join("images");
    fs::create_dir_all(images.join("below")).unwrap();
    fs::write(images.join("b.png"), png(50)).unwrap();
    fs::write(images.join("a.png"), png(33)).unwrap();
    fs::write(images.join(".hidden.png"), b"hidden").unwrap();
    fs::write(images.join("below/c.png"), b"not read").unwrap();
    let run = |paths: &[PathBuf], options: &[&str]| -> Output {
        example("predict").arg(&model).args(paths).args(options).output().unwrap()
    };
    let output = run(std::slice::from_ref(&images), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("a.png") && lines[1].contains("b.png"), "{text}");
    assert!(lines.iter().all(|line| line.contains("cat 0.") && line.contains("dog\\u{1b}[31m 0.")), "{text}");

    fs::write(images.join("aa.png"), b"no image").unwrap();
    let output = run(&[images.clone(), folder.path().join("absent.png")], &["--json", "--top", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("aa.png: ") && errors.contains("absent.png: ") && errors.lines().count() == 2, "{errors}");
    let records: Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<_> = records.as_array().unwrap().iter().map(|record| record["file"].as_str().unwrap()).collect();
    assert!(files.len() == 2 && files[0].ends_with("a.png") && files[1].ends_with("b.png"), "{files:?}");
    let predictions = records[0]["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 1);
    assert!(predictions[0]["probability"].as_f64().unwrap() >= 0.5);
    assert_eq!(run(&[images.join("below/..").join("below/empty")], &[]).status.code(), Some(1));
}
