//! Augmented data sets in loaders and runs: the same bytes with any number of workers and after a resume.

use crate::small_run::{checkpoints, fit, images, resuming, trainer, with_targets};
use densenet::data::augment::{AlternatingFlip, Augment, ColorJitter, RandomErasing, RandomRotation, RandomShift};
use densenet::data::{
    Augmented, Batch, Dataset, InMemoryDataset, LoaderConfig, Phase, SampleKey, Subset, SyntheticConfig, Targets,
    Values,
};
use densenet::error::{CheckpointError, ConfigError, InputError};
use densenet::train::DataPlacement;
use densenet::{Error, TrainConfig};
use std::collections::HashSet;
use std::thread;

/// Several operations, of which at least one changes every image.
fn augment() -> Augment {
    Augment::new()
        .with(AlternatingFlip::new())
        .with(RandomShift::new(4))
        .with(RandomRotation::new(15.0))
        .with(ColorJitter::new().with_brightness(0.4).with_hue(0.1))
        .with(RandomErasing::new())
}

fn colored(len: usize) -> InMemoryDataset {
    SyntheticConfig::new(len).with_sample_shape([3, 32, 32]).build().unwrap()
}

/// All batches of an epoch from a position on.
fn batches(dataset: &dyn Dataset, workers: usize, epoch: u64, position: usize) -> Vec<Batch> {
    let loader = LoaderConfig::new(8).with_shuffle().with_seed(5).with_workers(workers).build().unwrap();
    thread::scope(|scope| {
        loader.batches_from(scope, dataset, epoch, position).unwrap().collect::<Result<_, _>>().unwrap()
    })
}

#[test]
fn the_same_bytes_come_with_any_number_of_workers_and_after_a_resume_in_an_epoch() {
    let train = Augmented::new(colored(60), augment()).unwrap();
    for epoch in [0, 1] {
        let expected = batches(&train, 0, epoch, 0);
        assert_eq!(expected.len(), 8);
        for workers in [1, 4] {
            assert!(batches(&train, workers, epoch, 0) == expected, "{workers} workers");
            assert!(batches(&train, workers, epoch, 24)[..] == expected[3..], "{workers} workers from sample 24 on");
        }
    }
    assert!(batches(&train, 0, 0, 0) != batches(&train, 0, 1, 0));
}

#[test]
fn samples_of_one_image_differ_from_each_other_and_from_epoch_to_epoch_and_evaluation_never_augments() {
    let one = colored(1);
    let same = Subset::new(one.clone(), vec![0; 3]).unwrap();
    let all = |dataset: &dyn Dataset| {
        let key = |index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation };
        dataset.fetch(&(0..dataset.len()).map(key).collect::<Vec<_>>()).unwrap()
    };
    let copies = InMemoryDataset::new(all(&same), &["class"; 10]).unwrap();
    let train = Augmented::new(copies, augment()).unwrap();
    let mut seen = HashSet::new();
    for epoch in 0..5 {
        for index in 0..3 {
            let batch = train.fetch(&[SampleKey { index, epoch, seed: 1, phase: Phase::Train }]).unwrap();
            let Values::U8(bytes) = batch.values else { panic!("bytes") };
            seen.insert(bytes);
            let evaluated = train.fetch(&[SampleKey { index, epoch, seed: 1, phase: Phase::Evaluation }]).unwrap();
            assert_eq!(evaluated.values, one.samples().values);
        }
    }
    assert_eq!(seen.len(), 15);
    assert!(!train.is_fixed());
}

#[test]
fn a_resume_with_another_augmentation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = || TrainConfig::new(1).with_batch_size(8);
    let of = |shift| Augmented::new(images(16, 0), Augment::new().with(RandomShift::new(shift))).unwrap();
    let run = |train: &dyn Dataset, checkpoints| {
        fit(&mut trainer(config()).with_checkpoints(checkpoints), train, &images(8, 1))
    };
    run(&of(2), checkpoints(folder.path())).unwrap();
    // In whatever the augmented data set is wrapped.
    let others: [&dyn Dataset; 3] = [&of(3), &images(16, 0), &Subset::first(Box::new(of(1)), 16)];
    for other in others {
        match run(other, resuming(folder.path())) {
            Err(Error::Checkpoint(CheckpointError::ConfigMismatch { differences })) => {
                assert_eq!(differences.into_keys().collect::<Vec<_>>(), ["training set"]);
            }
            other => panic!("{other:?}"),
        }
    }
    run(&Subset::first(Box::new(of(2)), 16), resuming(folder.path())).unwrap();
}

#[test]
fn data_that_cannot_be_augmented_are_typed_errors_before_the_first_step() {
    let error = Augmented::new(images(8, 0), Augment::cifar()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "size of a crop is 32×32 from 16×16 padded by 4, but has to be at most that of the padded image"
    );
    let smaller = Augment::new().with(densenet::data::augment::RandomCrop::new([8, 8]));
    let error = Augmented::new(images(8, 0), smaller).unwrap_err();
    assert!(error.to_string().starts_with("shape of augmented samples is [1, 8, 8] for samples of shape [1, 16, 16]"));

    let flat =
        InMemoryDataset::from_array(densenet::ndarray::Array2::<u8>::zeros([4, 16]), vec![0; 4], &["a"]).unwrap();
    let error = Augmented::new(flat, Augment::new()).unwrap_err();
    assert!(matches!(error, Error::Input(InputError::SampleShape { actual, .. }) if actual == [16]));

    let numbers = InMemoryDataset::from_array(
        densenet::ndarray::Array4::<f32>::zeros([8, 1, 16, 16]),
        vec![0; 8],
        &["a", "b", "c", "d"],
    );
    let train = Augmented::new(numbers.unwrap(), Augment::new().with(RandomShift::new(1))).unwrap();
    let test = with_targets(&images(8, 1), Targets::Classes(vec![0; 8]), &["a", "b", "c", "d"]);
    let error = fit(&mut trainer(TrainConfig::new(1)), &train, &test).unwrap_err();
    assert!(matches!(&error, Error::Config(ConfigError::InvalidValue { field: "image to augment", .. })), "{error:?}");

    let train = Augmented::new(images(8, 0), Augment::new()).unwrap();
    let config = TrainConfig::new(1).with_data_placement(DataPlacement::Device);
    assert!(fit(&mut trainer(config), &train, &images(8, 1)).unwrap_err().to_string().starts_with("data placement is"));
}
