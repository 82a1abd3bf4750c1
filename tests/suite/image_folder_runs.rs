//! Augmented folders of images in loaders and runs: the same bytes with any number of workers and after a kill.

use crate::image_folder::{png, write};
use crate::small_run::{Watch, checkpoints, fit, record, resuming, trainer};
use crate::variables::bits;
use densenet::TrainConfig;
use densenet::data::augment::{AlternatingFlip, Augment, ColorJitter, RandomResizedCrop, RandomShift};
use densenet::data::{BadFilePolicy, Batch, Color, Dataset, ImageConfig, ImageFolder, LoaderConfig, Phase, SampleKey};
use densenet::error::{CheckpointError, ConfigError};
use densenet::train::{Event, Run, SaveEvery};
use densenet::{Error, Result};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

/// A folder of 44 images of several sizes, in four classes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..44_u8 {
        let (width, height) = (20 + u32::from(number % 5) * 7, 18 + u32::from(number % 3) * 9);
        let mut image = image::ImageBuffer::from_fn(width, height, |x, y| {
            image::Rgb([(x * 9) as u8 ^ number.wrapping_mul(13), (y * 11) as u8, (x * y + u32::from(number)) as u8])
        });
        image.put_pixel(0, 0, image::Rgb([number; 3]));
        let mut bytes = Vec::new();
        let image: image::DynamicImage = image.into();
        image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        write(folder.path(), &format!("{}/{number:02}.png", number % 4), &bytes);
    }
    folder
}

fn own_size() -> Augment {
    Augment::new().with(RandomResizedCrop::new([16, 16])).with(AlternatingFlip::new())
}

fn common_size() -> Augment {
    Augment::new().with(RandomShift::new(3)).with(ColorJitter::new().with_brightness(0.4))
}

fn open(root: &Path, augment: Augment, cache_bytes: usize) -> ImageFolder {
    open_as(root, augment, |config| config.with_cache_bytes(cache_bytes))
}

fn open_as(root: &Path, augment: Augment, change: impl Fn(ImageConfig) -> ImageConfig) -> ImageFolder {
    let config = ImageConfig::new().with_size([16, 16]).with_color(Color::Gray).with_augment(augment);
    ImageFolder::open_with(root, &change(config)).unwrap()
}

fn batches(dataset: &dyn Dataset, workers: usize, epoch: u64, position: usize) -> Vec<Batch> {
    let loader = LoaderConfig::new(8).with_shuffle().with_seed(5).with_workers(workers).build().unwrap();
    thread::scope(|scope| {
        loader.batches_from(scope, dataset, epoch, position).unwrap().collect::<Result<_, _>>().unwrap()
    })
}

#[test]
fn the_same_bytes_come_with_any_number_of_workers_from_any_position_and_out_of_a_cache() {
    let files = folder();
    for augment in [own_size(), common_size()] {
        let images = open(files.path(), augment.clone(), 0);
        let cached = open(files.path(), augment, 1 << 20);
        for epoch in [0, 1] {
            let expected = batches(&images, 0, epoch, 0);
            for workers in [1, 4] {
                assert!(batches(&images, workers, epoch, 0) == expected, "{workers} workers");
                assert!(batches(&cached, workers, epoch, 0) == expected, "{workers} workers, cached");
                assert!(
                    batches(&images, workers, epoch, 16)[..] == expected[2..],
                    "{workers} workers from sample 16 on"
                );
            }
        }
        assert!(batches(&images, 0, 0, 0) != batches(&images, 0, 1, 0));
    }
}

#[test]
fn evaluation_never_augments() {
    let files = folder();
    let plain = open(files.path(), Augment::new(), 0);
    let key = |phase| (0..44).map(|index| SampleKey { index, epoch: 0, seed: 0, phase }).collect::<Vec<_>>();
    let evaluation = key(Phase::Evaluation);
    let expected = plain.fetch(&evaluation).unwrap();
    assert!(plain.fetch(&key(Phase::Train)).unwrap() == expected);
    for augment in [own_size(), common_size()] {
        let images = open(files.path(), augment, 0);
        assert!(images.fetch(&evaluation).unwrap() == expected);
        assert!(images.fetch(&key(Phase::Train)).unwrap() != expected);
        assert!(!images.is_fixed() && plain.is_fixed());
    }
}

#[test]
fn a_run_that_was_killed_in_an_epoch_resumes_to_the_same_weights_with_any_number_of_workers() {
    let files = folder();
    let images = open(files.path(), own_size(), 0);
    let config = |workers| TrainConfig::new(2).with_batch_size(8).with_seed(3).with_workers(workers);
    let mut whole = trainer(config(1));
    fit(&mut whole, &images, &images).unwrap();
    for workers in [0, 1, 4] {
        let (run, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (run.path().to_owned(), left.path().to_owned());
        // What a kill after step 3 of the second epoch leaves: the checkpoints up to step 2.
        let copy = Watch(move |event: &Event, _: &Run| {
            if matches!(event, Event::StepEnded { epoch: 2, step: 3, .. }) {
                fs::create_dir(to.join("checkpoints")).unwrap();
                for file in fs::read_dir(from.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()) {
                    fs::copy(&file, to.join("checkpoints").join(file.file_name().unwrap())).unwrap();
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        let every = SaveEvery::Steps(2);
        let mut first =
            trainer(config(workers)).with_checkpoints(checkpoints(run.path()).with_every(every)).with_callback(copy);
        fit(&mut first, &images, &images).unwrap();
        drop(first);
        let resume = resuming(left.path()).with_every(every);
        let resume = resume.with_allowed_changes(vec![densenet::train::Change::Callbacks]);
        let (resumed, see) = record(|event, _| match event {
            Event::Resumed { epoch, step, .. } => Some((*epoch, *step)),
            _ => None,
        });
        let mut second = trainer(config(workers)).with_checkpoints(resume).with_callback(see);
        fit(&mut second, &images, &images).unwrap();
        assert_eq!(*resumed.borrow(), [(2, 2)]);
        assert!(bits(second.var_store()) == bits(whole.var_store()), "{workers} workers");
    }
}

#[test]
fn a_resume_with_another_augmentation_or_size_is_refused() {
    let files = folder();
    let run = |images: &ImageFolder, checkpoints| {
        fit(&mut trainer(TrainConfig::new(1).with_batch_size(8)).with_checkpoints(checkpoints), images, images)
    };
    let folder = tempfile::tempdir().unwrap();
    run(&open(files.path(), own_size(), 0), checkpoints(folder.path())).unwrap();
    let error = run(&open(files.path(), common_size(), 0), resuming(folder.path())).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::ConfigMismatch { .. })), "{error}");
    // Neither the cache nor the policy for bad files changes a sample.
    let skipping = open_as(files.path(), own_size(), |config| config.with_bad_files(BadFilePolicy::Skip));
    run(&skipping, resuming(folder.path())).unwrap();
    run(&open(files.path(), own_size(), 1 << 20), resuming(folder.path())).unwrap();
}

#[test]
fn an_augmentation_that_does_not_fit_the_samples_is_an_error_at_the_opening() {
    let files = folder();
    let config = ImageConfig::new().with_size([16, 16]);
    for (augment, what) in [
        (Augment::new().with(RandomResizedCrop::new([24, 24])), "shape of augmented samples"),
        (Augment::cifar(), "size of a crop"),
    ] {
        match ImageFolder::open_with(files.path(), &config.clone().with_augment(augment)).unwrap_err() {
            Error::Config(ConfigError::InvalidValue { field, .. }) => assert_eq!(field, what),
            other => panic!("{other:?}"),
        }
    }
    let one = tempfile::tempdir().unwrap();
    write(one.path(), "a/1.png", &png(8, 8, [0, 0, 0]));
    let images = ImageConfig::new().with_augment(Augment::imagenet([8, 8]));
    assert_eq!(ImageFolder::open_with(one.path(), &images).unwrap().sample_shape(), [3, 8, 8]);
}
