//! Predicts the classes of image files with a model bundle, such as the file that `fashion_mnist` saves.
//!
//!     cargo run --features images --example predict -- model.safetensors photo.jpg folder/
//!     cargo run --features images --example predict -- model.safetensors folder/ --top 5 --json
//!
//! Expect a line such as `folder/shoe.png  sneaker 0.981  ankle boot 0.012  sandal 0.004` per image, or with `--json` a
//! list of objects such as `{"file": "folder/shoe.png", "predictions": [{"class": 7, "name": "sneaker", "probability":
//! 0.981}, …]}`. A folder stands for the files in it, sorted by name, without hidden ones and without its subfolders.
//! An image that cannot be read is named on stderr; the others follow, and the exit code is 1.

use clap::Parser;
use densenet::data::{Color, Image};
use densenet::predict::{PredictConfig, Prediction, Predictor, PredictorConfig};
use densenet::weights::Bundle;
use densenet::{Error, Result};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fmt, fs};

/// Predict the classes of image files with a model bundle
#[derive(Parser)]
struct Args {
    /// Model bundle, such as runs/001/model.safetensors
    model: PathBuf,
    /// PNG, JPEG, GIF or BMP files, and folders of them
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Number of classes per image, the most likely first
    #[arg(long, value_name = "CLASSES", default_value_t = 3)]
    top: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match predict(&args) {
        Ok(all) => ExitCode::from(u8::from(!all)),
        Err(error) => fail(&error.with_causes()),
    }
}

/// Predicts all images, and returns whether all of them could be read.
fn predict(args: &Args) -> Result<bool> {
    let bundle = Bundle::read(&args.model)?;
    let color = bundle.color()?;
    // Photos are large before they are resized.
    let config = PredictorConfig::new(PredictConfig::default()).with_max_image_values(3 << 26);
    let predictor = Predictor::open_with(&args.model, config)?;
    let (mut all, mut records) = (true, Vec::new());
    for file in files(&args.images, &mut all) {
        match read(&file, color).and_then(|image| predictor.predict(image)) {
            Ok(prediction) if args.json => records.push(record(&file, &prediction, args.top)),
            Ok(prediction) => say(format_args!("{}", line(&file, &prediction, args.top))),
            Err(error) => report(&file, &error.with_causes(), &mut all),
        }
    }
    if args.json {
        say(format_args!("{:#}", Value::Array(records)));
    }
    Ok(all)
}

/// Returns the files, with those of a folder in its place.
fn files(paths: &[PathBuf], all: &mut bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match in_folder(path) {
            Ok(found) if found.is_empty() => report(path, "there is no file in the folder", all),
            Ok(found) => files.extend(found),
            Err(error) => report(path, &error.to_string(), all),
        }
    }
    files
}

fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut files: Vec<_> = paths.into_iter().filter(|path| !path.is_dir() && !is_hidden(path)).collect();
    files.sort();
    Ok(files)
}

fn read(file: &Path, color: Color) -> Result<Image> {
    let bytes = fs::read(file).map_err(Error::other)?;
    Image::decode(&bytes, color)
}

fn record(file: &Path, prediction: &Prediction, top: usize) -> Value {
    let predictions = prediction
        .top(top)
        .into_iter()
        .map(|top| json!({ "class": top.class, "name": prediction.name(top.class), "probability": top.probability }));
    json!({ "file": file.display().to_string(), "predictions": predictions.collect::<Vec<_>>() })
}

fn line(file: &Path, prediction: &Prediction, top: usize) -> String {
    let classes = prediction.top(top).into_iter().map(|top| {
        let name = prediction.name(top.class).map_or_else(|| format!("class {}", top.class), printable);
        format!("  {name} {:.3}", top.probability)
    });
    printable(&file.display().to_string()) + &classes.collect::<String>()
}

/// Escapes characters that control a terminal, which names in files may have.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Prints a line. Ignores errors, such as a closed pipe to `head`.
fn say(line: fmt::Arguments) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn report(path: &Path, problem: &str, all: &mut bool) {
    *all = false;
    let _ = writeln!(io::stderr(), "{}: {problem}", printable(&path.display().to_string()));
}

fn fail(problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {problem}");
    ExitCode::FAILURE
}
