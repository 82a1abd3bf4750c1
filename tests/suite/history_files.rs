//! A run's history as a file: read back, it is the history.

use crate::small_run::{fit, images, record, trainer};
use densenet::TrainConfig;
use densenet::report::HistoryFile;
use densenet::train::{Datasets, EpochRecord, Event, History};
use std::fs;
use std::path::Path;

fn config() -> TrainConfig {
    TrainConfig::new(2).with_batch_size(8)
}

#[test]
fn history_files_read_back_as_the_history_at_every_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, json) = (folder.path().join("history.csv"), folder.path().join("history.jsonl"));
    let files = (csv.clone(), json.clone());
    let (seen, watch) = record(move |event, run| {
        let of_interest = matches!(event, Event::FitStarted | Event::EpochEnded { .. });
        of_interest.then(|| {
            check_csv(&files.0, run.history);
            check_json_lines(&files.1, run.history);
            run.history.epochs.len()
        })
    });
    let mut trainer = trainer(config())
        .with_callback(HistoryFile::csv(&csv))
        .with_callback(HistoryFile::json_lines(&json))
        .with_callback(watch);
    let (train, validation, test) = (images(20, 0), images(4, 2), images(8, 1));
    let history = trainer.fit(&Datasets::new(&train).with_validation(&validation).with_test(&test)).unwrap();
    assert_eq!(*seen.borrow(), [0, 1, 2]);
    assert_eq!(history.epochs.len(), 2);
    check_csv(&csv, &history);
    check_json_lines(&json, &history);
}

fn check_csv(file: &Path, history: &History) {
    let text = fs::read_to_string(file).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let expected = "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,test_loss,test_accuracy,learning_rate,\
                    train_seconds,evaluation_seconds,images_per_second,skipped_steps,skipped_samples";
    assert_eq!(names.join(","), expected);
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), history.epochs.len());
    for (row, record) in rows.iter().zip(&history.epochs) {
        // Decimal digits enough to give the same bits again.
        let values: Vec<f64> = row.iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(values, numbers(record));
    }
}

fn check_json_lines(file: &Path, history: &History) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), history.epochs.len());
    for (line, record) in text.lines().zip(&history.epochs) {
        let read: EpochRecord = serde_json::from_str(line).unwrap();
        let samples = |record: &EpochRecord| record.test.as_ref().unwrap().samples;
        assert_eq!((read.epoch, samples(&read)), (record.epoch, samples(record)));
        for (own, expected) in numbers(&read).into_iter().zip(numbers(record)) {
            // serde_json's quick reader may miss the last bit of an f64.
            assert!((own - expected).abs() <= f64::EPSILON * expected, "{own} instead of {expected}");
        }
    }
}

/// All numbers of a record in the order of the table's columns.
fn numbers(record: &EpochRecord) -> [f64; 13] {
    let (validation, test) = (record.validation.as_ref().unwrap(), record.test.as_ref().unwrap());
    [
        record.epoch as f64,
        record.train.loss(),
        record.train.accuracy().unwrap(),
        validation.loss(),
        validation.accuracy().unwrap(),
        test.loss(),
        test.accuracy().unwrap(),
        record.learning_rate,
        record.train_seconds,
        record.evaluation_seconds,
        record.samples_per_second(),
        record.skipped_steps as f64,
        record.skipped_samples as f64,
    ]
}

#[test]
fn csv_leaves_empty_what_a_run_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("history.csv");
    let mut trainer = trainer(config()).with_callback(HistoryFile::csv(&csv));
    fit(&mut trainer, &images(20, 0), &images(8, 1)).unwrap();
    let text = fs::read_to_string(csv).unwrap();
    let row: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
    assert_eq!((row[3], row[4], row.len()), ("", "", 13));
}
