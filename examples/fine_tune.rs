//! Fine-tunes a network on a folder of photos, or trains one on it from scratch.
//!
//!     cargo run --example fine_tune -- flowers --weights densenet121.safetensors
//!     cargo run --example fine_tune -- flowers --net cifar-bc-40 --size 32 --epochs 20
//!
//! The folder has the folders `train` and `val`, each with one folder of PNG or JPEG files per class; without them, its
//! own folders are the classes, and a fifth of the images is held back for validation. Weights may be a model bundle of
//! this crate, whose network is used, or a file of torchvision or timm for the network that `--net` names.
//!
//! With weights, only the classifier is trained at first (`--frozen-epochs`), and then everything, the network's body
//! with a tenth of the classifier's learning rate. Expect lines such as `[epoch 3] loss 0.21, train acc 0.93, validation
//! acc 0.91`, and in a new folder under `runs/` the files `report.html`, `history.csv` and `model.safetensors`: a bundle
//! with the weights of the best epoch, which `cargo run --example predict` and `serve` open.

use clap::{Parser, ValueEnum};
use densenet::data::augment::{Augment, RandomCrop, RandomHorizontalFlip};
use densenet::data::{BadFilePolicy, Color, Dataset, Fit, ImageConfig, ImageFolder, split_validation};
use densenet::error::WeightsProblem;
use densenet::nn::{Mode, Precision, freeze, unfreeze};
use densenet::optim::{ParameterGroup, Schedule};
use densenet::report::{ConsoleLog, HistoryFile, ProgressBar, Report, RunFolder};
use densenet::tch::nn::VarStore;
use densenet::train::{Monitor, SaveWeights};
use densenet::weights::{Bundle, LoadConfig, load};
use densenet::{AdamWConfig, Datasets, DenseNet, DenseNetConfig, Error, Preprocess, Result, TrainConfig, Trainer};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Fine-tune a network on a folder of photos, or train one on it from scratch
#[derive(Parser)]
struct Args {
    /// Folder with `train` and `val`, or with one folder of images per class
    folder: PathBuf,
    /// Pretrained weights: a model bundle, or a file of torchvision or timm; without them, training begins from scratch
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Network, unless a bundle names it
    #[arg(long, default_value = "densenet121")]
    net: Net,
    /// Height and width of the images in pixels; without it, that of the bundle, or 224
    #[arg(long)]
    size: Option<usize>,
    /// Number of passes over the training images
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Number of passes before, in which only the classifier is trained; used with weights only
    #[arg(long, default_value_t = 2)]
    frozen_epochs: usize,
    /// Learning rate of the classifier, and of everything from scratch
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Share of that rate for the pretrained body
    #[arg(long, default_value_t = 0.1)]
    body_rate: f64,
    /// Number of images per step
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Number of worker threads that read images
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Seed of the initial weights, the order of images and their augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave out files that are no images, instead of stopping at them
    #[arg(long)]
    skip_bad_files: bool,
    /// Megabytes of decoded images that are kept in memory
    #[arg(long, default_value_t = 256)]
    cache: usize,
    /// Compute in bf16, which is faster where the CPU has instructions for it
    #[arg(long)]
    bf16: bool,
    /// Folder for the results; without it, a new numbered one under runs/
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Net {
    Densenet121,
    Densenet169,
    Densenet201,
    /// For images of 32 to 64 pixels
    CifarBc40,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    densenet::tune_allocator()?;
    let pretrained = args.weights.as_deref().map(read_bundle).transpose()?.flatten();
    let size_of = |bundle: &Bundle| bundle.input_shape().map(|[_, height, _]| height);
    let size = args.size.or(pretrained.as_ref().and_then(size_of)).unwrap_or(224);
    let color = pretrained.as_ref().map_or(Ok(Color::Rgb), Bundle::color)?;
    let (train, validation) = open(args, size, color)?;
    let bundle = describe(args, pretrained, size, train.classes())?;
    let folder = match &args.out {
        Some(out) => RunFolder::at(out)?,
        None => RunFolder::numbered("runs")?,
    };
    println!(
        "{} training and {} validation images of {} classes",
        train.len(),
        validation.len(),
        train.classes().len()
    );
    println!("results in {}", folder.path().display());

    let datasets = Datasets::new(&train).with_validation(&validation);
    let vs = VarStore::new(densenet::default_device());
    let model = bundle.config.build(&vs.root())?;
    let Some(weights) = &args.weights else {
        let optimizer = AdamWConfig::new(args.learning_rate).with_group(no_decay()).build(&vs)?;
        let trainer = Trainer::new(vs, model, optimizer, config(args, &bundle, args.epochs))?;
        return train_and_save(trainer, &bundle, &folder, &datasets);
    };
    println!("weights: {}", load(&vs, weights, &LoadConfig::new().with_new_head())?);
    let (vs, model) = train_classifier(args, &bundle, vs, model, &datasets)?;
    let optimizer = AdamWConfig::new(args.learning_rate * args.body_rate)
        .with_group(ParameterGroup::prefix("classifier").with_learning_rate(args.learning_rate))
        .with_group(no_decay())
        .build(&vs)?;
    let trainer = Trainer::new(vs, model, optimizer, config(args, &bundle, args.epochs))?;
    train_and_save(trainer, &bundle, &folder, &datasets)
}

/// Reads the description of a bundle; `None` for plain weights.
fn read_bundle(path: &Path) -> Result<Option<Bundle>> {
    match Bundle::read(path) {
        Err(Error::Weights { problem: WeightsProblem::NoBundle, .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// Opens the training and the validation set.
fn open(args: &Args, size: usize, color: Color) -> Result<(Box<dyn Dataset>, Box<dyn Dataset>)> {
    let config = ImageConfig::new()
        .with_size([size, size])
        .with_color(color)
        .with_fit(fit(size))
        .with_augment(augment(size))
        .with_bad_files(if args.skip_bad_files { BadFilePolicy::Skip } else { BadFilePolicy::Error })
        .with_cache_bytes(args.cache << 20);
    if args.folder.join("train").is_dir() {
        let (train, validation) = ImageFolder::open_splits(&args.folder, &config)?;
        for bad in train.bad_files().iter().chain(validation.bad_files()) {
            eprintln!("skipped: {}: {}", bad.path.display(), bad.problem);
        }
        return Ok((Box::new(train), Box::new(validation)));
    }
    let all = ImageFolder::open_with(&args.folder, &config)?;
    let (train, validation) = split_validation(all, 0.2, args.seed)?;
    Ok((Box::new(train), Box::new(validation)))
}

/// Returns how images are prepared for evaluation and prediction.
fn fit(size: usize) -> Fit {
    Fit::CenterCrop { resize_size: (size * 8).div_ceil(7) }
}

/// Returns the augmentation of training images: what is left of a crop of a small image would be too little.
fn augment(size: usize) -> Augment {
    match size {
        ..=64 => {
            Augment::new().with(RandomCrop::new([size, size]).with_padding(size / 8)).with(RandomHorizontalFlip::new())
        }
        _ => Augment::imagenet([size, size]),
    }
}

/// Describes the network for these classes, and all that a prediction needs beside its weights.
fn describe(args: &Args, pretrained: Option<Bundle>, size: usize, classes: &[String]) -> Result<Bundle> {
    let count = classes.len();
    let (config, preprocess) = match pretrained {
        Some(bundle) => (bundle.config, bundle.preprocess),
        None => {
            let net = match args.net {
                Net::Densenet121 => DenseNetConfig::densenet121(count),
                Net::Densenet169 => DenseNetConfig::densenet169(count),
                Net::Densenet201 => DenseNetConfig::densenet201(count),
                Net::CifarBc40 => DenseNetConfig::cifar_bc(40, 12)?,
            };
            // Of the images of ImageNet.
            (net, Preprocess::new().with_normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        }
    };
    let bundle =
        Bundle::new(config.with_classes(count).with_seed(args.seed)).with_classes(classes.iter().map(String::as_str));
    Ok(bundle.with_preprocess(preprocess).with_image_size([size, size]).with_fit(fit(size)))
}

fn config(args: &Args, bundle: &Bundle, epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs)
        .with_batch_size(args.batch_size)
        .with_seed(args.seed)
        .with_workers(args.workers)
        .with_schedule(Schedule::Cosine)
        .with_precision(if args.bf16 { Precision::BFloat16 } else { Precision::Float32 })
        .with_preprocess(bundle.preprocess.clone())
}

/// Weight decay is for the weights of convolutions and of the classifier.
fn no_decay() -> ParameterGroup {
    ParameterGroup::norms_and_biases().with_weight_decay(0.0)
}

/// Trains the classifier, while the body of the network is frozen.
fn train_classifier(
    args: &Args,
    bundle: &Bundle,
    vs: VarStore,
    model: DenseNet,
    datasets: &Datasets,
) -> Result<(VarStore, DenseNet)> {
    if args.frozen_epochs == 0 {
        return Ok((vs, model));
    }
    println!("the classifier alone:");
    freeze(&vs, "features")?;
    let optimizer = AdamWConfig::new(args.learning_rate).build(&vs)?;
    let config = config(args, bundle, args.frozen_epochs).with_mode(Mode::TrainFrozenNorms);
    let mut trainer =
        Trainer::new(vs, model, optimizer, config)?.with_callback(ProgressBar::new()).with_callback(ConsoleLog::new());
    trainer.fit(datasets)?;
    let (vs, model, _) = trainer.into_parts();
    unfreeze(&vs, "features")?;
    println!("the whole network:");
    Ok((vs, model))
}

/// Trains, and leaves report, history, and the bundle of the best epoch.
fn train_and_save(trainer: Trainer<DenseNet>, bundle: &Bundle, folder: &RunFolder, datasets: &Datasets) -> Result<()> {
    let (key, description) = bundle.metadata()?;
    let weights = SaveWeights::best_to(folder.file("model.safetensors"), Monitor::accuracy());
    let mut trainer = trainer
        .with_callback(ProgressBar::new())
        .with_callback(ConsoleLog::new())
        .with_callback(HistoryFile::csv(folder.file("history.csv")))
        .with_callback(weights.with_metadata(key, description))
        .with_callback(Report::in_folder(folder.path()).with_title("Fine-tuning"));
    trainer.stop_handle().on_ctrl_c()?;
    let history = trainer.fit(datasets)?;
    let accuracy = |record: &densenet::train::EpochRecord| record.validation.as_ref()?.accuracy();
    if let Some(best) = history.epochs.iter().filter_map(accuracy).reduce(f64::max) {
        println!("best validation accuracy {best:.4}, saved in {}", folder.file("model.safetensors").display());
    }
    println!("see {}", folder.file("report.html").display());
    Ok(())
}
