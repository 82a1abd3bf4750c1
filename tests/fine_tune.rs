//! The examples `fine_tune` and `predict` as a user runs them: a folder of images in, a bundle and predictions out.
//!
//! Cargo builds the examples for `cargo test`; for this file alone: `cargo build --example fine_tune --example predict`
//! first.
#![cfg(all(feature = "images", feature = "report", feature = "progress", feature = "signals"))]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --example {name}", path.display());
    let mut command = Command::new(path);
    command.env("OMP_NUM_THREADS", "1");
    command
}

/// What the program printed, after a check of its success.
fn text(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Writes an image whose stripes run along or across.
fn write(folder: &Path, split: &str, class: &str, number: u32) {
    let image = image::ImageBuffer::from_fn(40, 36, |x, y| {
        let along = if class == "rows" { y } else { x };
        image::Rgb([if ((along + number) / 4).is_multiple_of(2) { 230_u8 } else { 20 }, 90, (number * 9) as u8])
    });
    let folder = folder.join(split).join(class);
    fs::create_dir_all(&folder).unwrap();
    image.save_with_format(folder.join(format!("{number}.png")), image::ImageFormat::Png).unwrap();
}

#[test]
fn a_network_is_trained_from_scratch_fine_tuned_from_its_bundle_and_predicts_from_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, first, second) = (folder.path().join("photos"), folder.path().join("1"), folder.path().join("2"));
    for number in 0..8 {
        for class in ["columns", "rows"] {
            write(&photos, "train", class, number);
            write(&photos, "val", class, 8 + number);
        }
    }
    let train = |arguments: &str, out: &Path| {
        let arguments = format!("{arguments} --size 32 --batch-size 8 --workers 1");
        let command =
            example("fine_tune").arg(&photos).args(arguments.split_whitespace()).arg("--out").arg(out).output();
        text(command.unwrap())
    };
    let printed = train("--net cifar-bc40 --epochs 1", &first);
    assert!(printed.contains("16 training and 16 validation images of 2 classes"), "{printed}");
    let weights = first.join("model.safetensors");
    let arguments = format!("--weights {} --frozen-epochs 1 --epochs 2 --learning-rate 0.01", weights.display());
    let printed = train(&arguments, &second);
    let phases = ["the classifier alone:", "the whole network:", "best validation accuracy"];
    assert!(phases.iter().all(|phase| printed.contains(phase)), "{printed}");
    for file in ["report.html", "history.csv", "model.safetensors"] {
        assert!(second.join(file).exists(), "{file}");
    }

    let image = photos.join("val/rows/9.png");
    let mut predict = example("predict");
    predict.arg(second.join("model.safetensors")).arg(&image).args(["--json", "--top", "2"]);
    let predictions: Value = serde_json::from_str(&text(predict.output().unwrap())).unwrap();
    let names: Vec<&str> =
        predictions[0]["predictions"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"rows") && names.contains(&"columns"), "{names:?}");
}

#[test]
fn a_folder_without_splits_is_divided_and_bad_files_stop_the_program_or_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    for number in 0..10 {
        write(&photos, ".", "rows", number);
        write(&photos, ".", "columns", number);
    }
    fs::write(photos.join("rows/notes.txt"), "stripes").unwrap();
    let run = |arguments: &[&str], out: &str| {
        let mut command = example("fine_tune");
        command.arg(&photos).args(["--net", "cifar-bc40", "--size", "32", "--epochs", "1", "--workers", "1"]);
        command.args(arguments).arg("--out").arg(folder.path().join(out)).output().unwrap()
    };
    let output = run(&[], "stopped");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("notes.txt"), "{error}");
    assert!(!folder.path().join("stopped").exists());
    let printed = text(run(&["--skip-bad-files"], "skipped"));
    assert!(printed.contains("16 training and 4 validation images of 2 classes"), "{printed}");
}
