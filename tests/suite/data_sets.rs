//! Data sets in memory, synthetic ones, and parts of others.

use crate::datasets::{Changed, Indices};
use densenet::Error;
use densenet::data::{
    Batch, Dataset, InMemoryDataset, Phase, SampleKey, Subset, SyntheticConfig, Targets, Values, split_validation,
};
use densenet::error::{BatchProblem, ConfigError, DataError};

fn keys(indices: &[usize]) -> Vec<SampleKey> {
    indices.iter().map(|&index| SampleKey { index, epoch: 3, seed: 9, phase: Phase::Train }).collect()
}

fn batch(sample_shape: &[usize], values: Values, targets: Targets) -> Batch {
    Batch::new(sample_shape.to_vec(), values, targets)
}

#[test]
fn samples_in_memory_come_in_the_order_of_the_keys() {
    let bytes = batch(&[1, 1, 2], Values::U8(vec![1, 2, 3, 4, 5, 6]), Targets::Classes(vec![0, 1, 0]));
    let dataset = InMemoryDataset::new(bytes, &["a", "b"]).unwrap();
    let expected = batch(&[1, 1, 2], Values::U8(vec![5, 6, 3, 4, 5, 6]), Targets::Classes(vec![0, 1, 0]));
    assert_eq!(dataset.clone().fetch(&keys(&[2, 1, 2])).unwrap(), expected);
    assert!(matches!(dataset.fetch(&keys(&[0, 3])), Err(Error::Data(DataError::IndexOutOfRange { index: 3, len: 3 }))));

    let targets = |data: &[f32]| Targets::Values { data: data.to_vec(), width: 2 };
    let numbers = batch(&[1], Values::F32(vec![0.5, 1.5]), targets(&[1.0, 2.0, 3.0, 4.0]));
    let dataset = InMemoryDataset::new(numbers, &[]).unwrap();
    assert_eq!(dataset.fetch(&keys(&[1])).unwrap(), batch(&[1], Values::F32(vec![1.5]), targets(&[3.0, 4.0])));
}

#[test]
fn samples_that_do_not_fit_together_are_errors() {
    let problem = |samples: Batch, classes: &[&str]| match InMemoryDataset::new(samples, classes) {
        Err(Error::Data(DataError::Samples { problem })) => problem,
        other => panic!("{other:?}"),
    };
    let classes = |indices: &[u32]| Targets::Classes(indices.to_vec());
    let bytes = |count| Values::U8(vec![0; count]);
    let two = ["a", "b"];
    assert_eq!(
        problem(batch(&[3], bytes(5), classes(&[0, 1])), &two),
        BatchProblem::ValueCount { samples: 2, sample_shape: vec![3], values: 5 }
    );
    assert_eq!(
        problem(batch(&[1], bytes(3), classes(&[0, 1, 2])), &two),
        BatchProblem::ClassOutOfRange { position: 2, class: 2, classes: 2 }
    );
    for shape in [vec![4, 0], vec![usize::MAX, 2]] {
        let expected = BatchProblem::SampleShape { sample_shape: shape.clone() };
        assert_eq!(problem(batch(&shape, bytes(0), classes(&[0])), &two), expected);
    }
    let values = |count, width| Targets::Values { data: vec![0.0; count], width };
    for width in [0, 2] {
        let expected = BatchProblem::TargetWidth { numbers: 3, width };
        assert_eq!(problem(batch(&[1], bytes(3), values(3, width)), &[]), expected);
    }
    let expected = BatchProblem::ClassesWithoutTargets { classes: 2, width: 3 };
    assert_eq!(problem(batch(&[1], bytes(1), values(3, 3)), &two), expected);
    assert!(InMemoryDataset::new(batch(&[1], bytes(1), values(2, 2)), &two).is_ok(), "soft labels");
}

#[test]
fn synthetic_samples_depend_on_seed_and_index_alone() {
    let config = SyntheticConfig::new(50).with_sample_shape([3, 8, 6]).with_classes(7).with_seed(5);
    let dataset = config.clone().build().unwrap();
    let all = dataset.fetch(&keys(&[0, 11, 49])).unwrap();
    let elsewhere = SampleKey { index: 11, epoch: 0, seed: 1, phase: Phase::Evaluation };
    let alone = dataset.fetch(&[elsewhere]).unwrap();
    let (Values::U8(all_bytes), Values::U8(bytes)) = (&all.values, &alone.values) else { panic!("bytes") };
    assert_eq!(all_bytes[144..288], bytes[..]);
    assert_eq!(all.targets, Targets::Classes(vec![0, 4, 0]));

    let other_seed = config.with_seed(6).build().unwrap().fetch(&[elsewhere]).unwrap();
    assert_ne!(other_seed.values, alone.values);
    assert_eq!(other_seed.targets, alone.targets);
}

#[test]
fn synthetic_bytes_are_the_same_on_every_machine() {
    let dataset = SyntheticConfig::new(3).with_sample_shape([1, 2, 4]).build().unwrap();
    let batch = dataset.fetch(&keys(&[2])).unwrap();
    assert_eq!(batch.values, Values::U8(vec![236, 90, 90, 229, 211, 58, 13, 160]));
}

#[test]
fn synthetic_classes_can_be_told_apart_in_images_never_seen() {
    // The nearest mean of the training images: as simple a learner as there is.
    let config = SyntheticConfig::new(400).with_sample_shape([1, 16, 16]);
    let images = |seed| -> Vec<(usize, Vec<f64>)> {
        let dataset = config.clone().with_seed(seed).build().unwrap();
        let batch = dataset.fetch(&keys(&(0..400).collect::<Vec<_>>())).unwrap();
        let (Values::U8(bytes), Targets::Classes(classes)) = (batch.values, batch.targets) else { panic!("bytes") };
        let rows = bytes.chunks(256).map(|row| row.iter().map(|&byte| f64::from(byte)).collect());
        classes.into_iter().map(|class| class as usize).zip(rows).collect()
    };
    let mut means = vec![vec![0.0; 256]; 10];
    for (class, image) in images(0) {
        means[class].iter_mut().zip(image).for_each(|(mean, pixel)| *mean += pixel / 40.0);
    }
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let right = images(1).into_iter().filter(|(class, image)| {
        let nearest = (0..10).min_by(|&a, &b| distance(&means[a], image).total_cmp(&distance(&means[b], image)));
        nearest == Some(*class)
    });
    let right = right.count();
    assert!(right >= 390, "{right} of 400");
}

#[test]
fn synthetic_configurations_that_make_no_sense_are_errors() {
    let config = SyntheticConfig::new(1);
    assert!(matches!(config.clone().with_classes(0).build(), Err(Error::Config(ConfigError::InvalidValue { .. }))));
    assert!(matches!(
        config.clone().with_sample_shape([1, 0, 5]).build(),
        Err(Error::Config(ConfigError::InvalidValue { .. }))
    ));
    assert!(matches!(
        config.with_sample_shape([usize::MAX, 2, 2]).build(),
        Err(Error::Config(ConfigError::Overflow { .. }))
    ));
}

/// A hundred samples whose targets are the epoch and the seed of the key that they are fetched by.
fn of_keys() -> impl Dataset {
    Changed::new(Indices(100), |keys, batch| {
        let data = keys.iter().flat_map(|key| [key.epoch as f32, key.seed as f32]).collect();
        batch.targets = Targets::Values { data, width: 2 };
        Ok(())
    })
}

#[test]
fn subset_passes_on_the_other_data_sets_own_index_with_epoch_and_seed() {
    let subset = Subset::new(of_keys(), vec![40, 7, 40]).unwrap();
    let fetched = subset.fetch(&keys(&[2, 1])).unwrap();
    assert_eq!(fetched.values, Values::F32(vec![40.0, 7.0]));
    assert_eq!(fetched.targets, Targets::Values { data: vec![3.0, 9.0, 3.0, 9.0], width: 2 });
    assert!(matches!(subset.fetch(&keys(&[3])), Err(Error::Data(DataError::IndexOutOfRange { index: 3, len: 3 }))));
    assert!(matches!(
        Subset::new(of_keys(), vec![100]),
        Err(Error::Data(DataError::IndexOutOfRange { index: 100, len: 100 }))
    ));
    assert_eq!(Subset::first(of_keys(), 3).indices(), [0, 1, 2]);
    assert_eq!(Subset::first(of_keys(), 1000).len(), 100);
}

#[test]
fn validation_split_is_disjoint_complete_and_decided_by_the_seed() {
    let split = |fraction, seed| {
        let (train, validation) = split_validation(&Indices(100), fraction, seed).unwrap();
        (train.indices().to_vec(), validation.indices().to_vec())
    };
    let (train, validation) = split(0.204, 1);
    assert_eq!((train.len(), validation.len()), (80, 20));
    assert!(train.is_sorted() && validation.is_sorted());
    let mut all = [train.clone(), validation.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());

    assert_eq!(split(20.0 / 100.0, 1), (train.clone(), validation));
    assert_ne!(split(0.2, 2).0, train);
    assert_eq!(split(0.05, 0).1, [29, 37, 62, 80, 84]);
}

#[test]
fn validation_split_with_an_empty_side_is_an_error() {
    for fraction in [0.001, 0.999] {
        let result = split_validation(&Indices(100), fraction, 0);
        assert!(matches!(result, Err(Error::Data(DataError::EmptySplit { samples: 100, .. }))), "{fraction}");
    }
    for fraction in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        let result = split_validation(&Indices(100), fraction, 0);
        assert!(matches!(result, Err(Error::Config(ConfigError::InvalidValue { .. }))), "{fraction}");
    }
}

/// A data set that knows its targets, and whose samples are never fetched.
struct TargetsAlone(Targets);

impl Dataset for TargetsAlone {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn sample_shape(&self) -> &[usize] {
        &[1]
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn fetch(&self, _: &[SampleKey]) -> densenet::Result<Batch> {
        panic!("a sample is fetched for its target")
    }
    fn targets(&self) -> densenet::Result<Targets> {
        Ok(self.0.clone())
    }
}

#[test]
fn targets_of_all_samples_are_those_that_are_fetched() {
    let all: Vec<usize> = (0..200).collect();
    let fetched = |dataset: &dyn Dataset| dataset.fetch(&keys(&all)).unwrap().targets;
    let classes = SyntheticConfig::new(200).with_sample_shape([1, 1, 1]).with_classes(7).build().unwrap();
    let data = (0..400).map(|number| number as f32).collect();
    let samples = batch(&[1], Values::U8(vec![0; 200]), Targets::Values { data, width: 2 });
    let values = InMemoryDataset::new(samples, &[]).unwrap();
    for dataset in [classes, values] {
        assert_eq!(dataset.targets().unwrap(), fetched(&dataset));
        // The provided implementation, in several chunks.
        let changed = Changed::new(dataset.clone(), |keys, _| {
            assert!(keys.iter().all(|key| key.phase == Phase::Evaluation && key.epoch == 0));
            Ok(())
        });
        assert_eq!(changed.targets().unwrap(), fetched(&dataset));
        let subset = Subset::new(&changed, vec![150, 3, 150]).unwrap();
        assert_eq!(subset.targets().unwrap(), dataset.fetch(&keys(&[150, 3, 150])).unwrap().targets);
    }
    assert!(Changed::new(Indices(0), |_, _| Ok(())).targets().unwrap().is_empty());
}

#[test]
fn data_sets_that_consist_of_others_return_their_targets_without_fetching_samples() {
    let targets = |data: &[f32]| Targets::Values { data: data.to_vec(), width: 1 };
    let dataset = TargetsAlone(targets(&[5.0, 6.0, 7.0]));
    assert_eq!(Subset::new(&dataset, vec![2, 0]).unwrap().targets().unwrap(), targets(&[7.0, 5.0]));
    let shared = std::sync::Arc::new(TargetsAlone(targets(&[5.0])));
    let boxed: Box<dyn Dataset> = Box::new(std::sync::Arc::clone(&shared));
    let reference: &dyn Dataset = &&*boxed;
    for targets in [shared.targets(), boxed.targets(), reference.targets()] {
        assert_eq!(targets.unwrap(), shared.0);
    }
}

#[test]
fn targets_of_two_types_are_an_error_that_names_the_samples() {
    let mixed = Changed::new(Indices(100), |keys, batch| {
        if keys[0].index == 64 {
            batch.targets = Targets::Values { data: vec![0.0; keys.len()], width: 1 };
        }
        Ok(())
    });
    match mixed.targets() {
        Err(Error::Data(DataError::WrongBatch { indices, problem, .. })) => {
            assert_eq!((indices[0], problem), (64, BatchProblem::MixedTargets));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn images_of_either_layout_become_the_same_samples() {
    use densenet::data::Layout;
    use densenet::ndarray::Array4;
    let value = |image: usize, channel: usize, row: usize, column: usize| {
        (1000 * image + 100 * channel + 10 * row + column) as f32
    };
    let first = Array4::from_shape_fn([2, 3, 4, 5], |(n, c, h, w)| value(n, c, h, w));
    let last = Array4::from_shape_fn([2, 4, 5, 3], |(n, h, w, c)| value(n, c, h, w));
    let dataset = |images, layout| InMemoryDataset::from_images(images, layout, vec![0, 1], &["a", "b"]).unwrap();
    let (first, last) = (dataset(first, Layout::ChannelsFirst), dataset(last, Layout::ChannelsLast));
    assert_eq!(first.sample_shape(), [3, 4, 5]);
    assert_eq!(first.samples(), last.samples());
}

#[test]
fn channels_that_come_last_are_named_in_the_error_before_training() {
    use densenet::{Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer};
    let images = densenet::ndarray::Array4::<u8>::zeros([4, 32, 32, 3]);
    let dataset = InMemoryDataset::from_array(images, vec![0, 1, 0, 1], &["a", "b"]).unwrap();
    let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    let model = DenseNetConfig::new(2).with_growth_rate(2).with_layers_per_block([1]).build(&vs.root()).unwrap();
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1)).unwrap();
    let error = trainer.fit(&Datasets::new(&dataset)).unwrap_err().to_string();
    assert!(error.contains("channels first") && error.contains("channels seem to be last"), "{error}");
}
