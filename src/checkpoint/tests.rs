//! What a checkpoint and a folder of checkpoints promise.

use super::fault_tests::{assert_is, read, state};
use super::problem::CheckpointProblem;
use super::{Checkpoint, Store};
use crate::Error;
use crate::error::CheckpointError;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tch::{Device, Kind, Tensor};

#[test]
fn a_checkpoint_reads_back_to_the_last_bit_and_equal_ones_have_equal_bytes() {
    let numbers = [0.1, 1.0 / 3.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.49999999999999994, -1.7976931348623155e308];
    let tensors = BTreeMap::from([
        ("f64".to_owned(), Tensor::from_slice(&numbers)),
        ("bf16".to_owned(), Tensor::from_slice(&[1.5_f32, f32::NAN]).to_kind(Kind::BFloat16)),
        ("empty".to_owned(), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
    ]);
    let checkpoint = Checkpoint { state: json!({ "b": numbers, "a": { "d": null, "c": "\"\u{1F600}\\" } }), tensors };
    let bytes = checkpoint.to_bytes().unwrap();
    let again = read(&bytes).unwrap();
    assert_eq!(again.state, checkpoint.state);
    assert!(again.tensors["f64"].equal(&checkpoint.tensors["f64"]));
    assert_eq!(again.to_bytes().unwrap(), bytes);
}

#[test]
fn what_is_written_can_be_read_however_long_the_history_is() {
    let history: Vec<_> =
        (0..100_000).map(|epoch| json!({ "epoch": epoch, "loss": "a text of some length" })).collect();
    let large = Checkpoint { state: json!({ "history": history }), tensors: BTreeMap::new() };
    let bytes = large.to_bytes().unwrap();
    assert!(bytes.len() > 4 << 20);
    assert_eq!(read(&bytes).unwrap().state, large.state);
    let many = (0..65_537).map(|n| (n.to_string(), Tensor::from_slice(&[0_u8]))).collect();
    let deep = BTreeMap::from([("deep".to_owned(), Tensor::zeros([1; 9], (Kind::Float, Device::Cpu)))]);
    for tensors in [many, deep] {
        let unreadable = Checkpoint { state: json!(null), tensors };
        assert!(matches!(unreadable.to_bytes(), Err(CheckpointProblem::Content { .. })), "it could not be read again");
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let bytes = state(7).to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut after {length} bytes");
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(matches!(read(&longer), Err(CheckpointProblem::Digest { .. })));
}

#[test]
fn a_damaged_checkpoint_is_skipped_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.newest().unwrap().is_none());
    let paths = [1, 2, 3].map(|step| store.save(step, &state(step)).unwrap());
    let mut bytes = fs::read(&paths[2]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&paths[2], &bytes).unwrap();
    let found = store.newest().unwrap().unwrap();
    assert_is(&found.checkpoint, 2);
    // Set aside it stays, and does not count among those that are kept.
    store.set_aside(&paths[2], "damaged").unwrap();
    assert_eq!(store.next_number().unwrap(), 4);
    store.keep(2, &[]).unwrap();
    assert_eq!(store.numbers().unwrap(), [1, 2]);
    let aside = folder.path().join("damaged-checkpoint-000000003.safetensors");
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    fs::rename(&aside, &paths[2]).unwrap();
    let named = found.skipped[0].with_causes();
    assert!(named.contains("checkpoint-000000003") && named.contains("damaged"), "{named}");
    for path in &paths {
        fs::write(path, b"").unwrap();
    }
    match store.newest() {
        Err(Error::Checkpoint(CheckpointError::Invalid { source, .. })) => {
            assert_eq!(source.downcast_ref(), Some(&CheckpointProblem::NoDigest));
        }
        other => panic!("{other:?}"),
    }
}

/// The bytes of a checkpoint as a later version would write them, with a digest that is right.
fn of_a_later_version(checkpoint: &Checkpoint) -> Vec<u8> {
    let text = |bytes: &[u8], before: &str| {
        let before = before.as_bytes();
        bytes.windows(before.len()).position(|window| window == before).unwrap() + before.len()
    };
    let mut bytes = checkpoint.to_bytes().unwrap();
    let format = text(&bytes, r#"\"format\":"#);
    bytes[format] += 1;
    let digest = text(&bytes, r#"\"digest\":\""#);
    bytes[digest..digest + 64].fill(b'0');
    let right = hex::encode(Sha256::digest(&bytes));
    bytes[digest..digest + 64].copy_from_slice(right.as_bytes());
    bytes
}

#[test]
fn a_checkpoint_of_a_later_version_is_an_error_that_says_so_and_is_neither_skipped_nor_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [_, newest] = [1, 2].map(|number| store.save(number, &state(number)).unwrap());
    fs::write(&newest, of_a_later_version(&state(2))).unwrap();
    let error = store.newest().unwrap_err();
    assert!(matches!(&error, Error::Checkpoint(CheckpointError::Invalid { path, .. }) if *path == newest), "{error:?}");
    assert!(error.with_causes().contains("format 3") && error.with_causes().contains("reads format 2"), "{error}");
    assert!(newest.exists());
}

#[test]
fn old_checkpoints_go_and_the_newest_two_and_the_best_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for step in [10, 2, 33, 4, 25] {
        store.save(step, &state(step)).unwrap();
    }
    store.keep(3, &[2]).unwrap();
    assert_eq!(store.numbers().unwrap(), [2, 10, 25, 33]);
    store.keep(0, &[]).unwrap();
    assert_eq!(store.numbers().unwrap(), [25, 33]);
}

#[test]
fn a_folder_has_one_run_and_is_free_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    match Store::open(folder.path()) {
        Err(Error::Checkpoint(CheckpointError::FolderInUse { holder, .. })) => {
            assert_eq!(holder, format!("process {}", std::process::id()))
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    Store::open(folder.path()).unwrap();
}

#[test]
fn of_many_that_want_a_folder_at_once_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = AtomicUsize::new(0);
    let acquired = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let Ok(_store) = Store::open(folder.path()) else { continue };
                    assert_eq!(taken.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                    acquired.fetch_add(1, Ordering::SeqCst);
                    taken.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    let acquired = acquired.into_inner();
    assert!(acquired >= 4, "of 2000 tries {acquired} had it: that says nothing");
}

#[test]
fn what_a_kill_left_is_removed_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".checkpoint-000000005.safetensors.tmp-12-00ff"), b"half").unwrap();
    fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
    for name in [".hidden", ".mine.tmp-1", "checkpoint-7.safetensors", "checkpoint-+00000007.safetensors"] {
        fs::write(folder.path().join(name), b"mine").unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    assert!(store.newest().unwrap().is_none());
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let others = ["checkpoint-+00000007.safetensors", "checkpoint-7.safetensors"];
    assert_eq!(names, [".hidden", ".lock", ".mine.tmp-1", others[0], others[1], "notes.txt"]);
}
