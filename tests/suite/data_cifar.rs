//! CIFAR's binary format, in files that the tests write.

use densenet::data::{Batch, Cifar10, Cifar100, Dataset, Phase, SampleKey, Split, Targets, Values};
use densenet::{Error, error::DataError};
use std::fs;
use std::path::Path;

/// A record: labels, and an image whose values follow from its number.
fn record(labels: &[u8], number: usize) -> Vec<u8> {
    let image = (0..3072).map(|place| ((place * 7 + number * 13) % 256) as u8);
    labels.iter().copied().chain(image).collect()
}

fn write_cifar10(folder: &Path) {
    for batch in 0..5 {
        let records: Vec<u8> = (0..2).flat_map(|i| record(&[(batch * 2 + i) as u8], batch * 2 + i)).collect();
        fs::write(folder.join(format!("data_batch_{}.bin", batch + 1)), records).unwrap();
    }
    fs::write(folder.join("test_batch.bin"), record(&[9], 99)).unwrap();
}

fn fetch(dataset: &dyn Dataset, index: usize) -> Batch {
    dataset.fetch(&[SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation }]).unwrap()
}

#[test]
fn records_become_samples_in_the_order_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&nested).unwrap();
    write_cifar10(&nested);
    for place in [folder.path(), &nested] {
        let train = Cifar10::open_in(place, Split::Train).unwrap();
        assert_eq!((train.len(), train.sample_shape(), train.classes().len()), (10, &[3, 32, 32][..], 10));
        for index in 0..10 {
            let batch = fetch(&train, index);
            assert_eq!(batch.targets, Targets::Classes(vec![index as u32]));
            assert_eq!(batch.values, Values::U8(record(&[], index)));
        }
        let test = Cifar10::open_in(place, Split::Test).unwrap();
        assert_eq!((test.len(), fetch(&test, 0).targets), (1, Targets::Classes(vec![9])));
    }
}

#[test]
fn the_fine_label_of_cifar_100_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.bin"), [record(&[3, 99], 0), record(&[19, 42], 1)].concat()).unwrap();
    let train = Cifar100::open_in(folder.path(), Split::Train).unwrap();
    assert_eq!(train.targets().unwrap(), Targets::Classes(vec![99, 42]));
    assert_eq!([&train.classes()[99], &train.classes()[42]], ["worm", "leopard"]);
    assert!(train.classes().is_sorted() && train.classes().len() == 100);
}

#[test]
fn missing_cut_and_foreign_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    write_cifar10(folder.path());
    let third = folder.path().join("data_batch_3.bin");
    let whole = fs::read(&third).unwrap();
    let refused = || Cifar10::open_in(folder.path(), Split::Train).unwrap_err();
    for (bytes, problem) in [
        (&whole[..whole.len() - 1], "6145 bytes"),
        (&whole[..1], "1 bytes"),
        (&[][..], "0 bytes"),
        (&[&[10][..], &whole[1..]].concat(), "record 0 has the label 10"),
        (&[&whole[..3073], &[200], &whole[3074..]].concat(), "record 1 has the label 200"),
    ] {
        fs::write(&third, bytes).unwrap();
        let error = refused();
        assert!(matches!(&error, Error::Data(DataError::Cifar { path, .. }) if *path == third), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    fs::remove_file(&third).unwrap();
    let error = refused();
    assert!(matches!(error, Error::Data(DataError::DatasetNotFound { .. })), "{error}");
    assert!(error.to_string().contains("data_batch_3.bin"), "{error}");
}
