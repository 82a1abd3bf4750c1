//! Tests that a checkpoint is complete or absent, whichever file operation fails and whenever the power is cut.

use super::problem::CheckpointProblem;
use super::{Checkpoint, Store};
use crate::error::IoError;
use crate::files::{Disk, ReadSeek, RealDisk};
use crate::{Error, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tch::Tensor;

/// A state that differs from that of every other step.
pub(super) fn state(step: u64) -> Checkpoint {
    let weight = Tensor::from_slice(&[step as f32, 0.1, -2.5]);
    let count = Tensor::from_slice(&[step as i64]);
    let tensors = BTreeMap::from([("weight".to_owned(), weight), ("count".to_owned(), count)]);
    Checkpoint { state: json!({ "step": step, "loss": 0.1 + step as f64 }), tensors }
}

pub(super) fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointProblem> {
    Checkpoint::read(Cursor::new(bytes))
}

pub(super) fn assert_is(found: &Checkpoint, step: u64) {
    let expected = state(step);
    assert_eq!(found.state, expected.state);
    assert_eq!(found.tensors.keys().collect::<Vec<_>>(), expected.tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &expected.tensors {
        assert!(found.tensors[name].equal(tensor) && found.tensors[name].kind() == tensor.kind(), "{name}");
    }
}

/// The operating system's files, with one operation that fails.
#[derive(Clone, Debug)]
struct FailsOnce {
    /// The number of calls up to the one that fails; counts down.
    left: Arc<AtomicI32>,
    how: ErrorKind,
}

impl FailsOnce {
    fn call<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.left.fetch_sub(1, SeqCst) == 1 { Err(self.how.into()) } else { call() }
    }
}

impl Disk for FailsOnce {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.left.load(SeqCst) == 1 {
            // A full disk writes a part of the bytes.
            RealDisk.write_new(path, &bytes[..bytes.len() / 2])?;
        }
        self.call(|| RealDisk.write_new(path, bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.sync(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.create_folder(path))
    }

    fn is_folder(&self, path: &Path) -> bool {
        RealDisk.is_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        self.call(|| RealDisk.open(path))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.call(|| RealDisk.names(folder))
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(7)
    }
}

#[test]
fn whichever_file_call_fails_the_old_checkpoint_stays_and_a_later_save_works() {
    for how in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::PermissionDenied] {
        let mut failed = 0;
        for number in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let left = Arc::new(AtomicI32::new(0));
            let store = Store::open_on(FailsOnce { left: left.clone(), how }, folder.path()).unwrap();
            store.save(1, &state(1)).unwrap();
            left.store(number, SeqCst);
            let saved = store.save(2, &state(2)).and_then(|_| store.keep(2, &[]));
            let never_came = left.load(SeqCst) > 0;
            left.store(0, SeqCst);
            if never_came {
                saved.unwrap();
                break;
            }
            failed += 1;
            match saved {
                Err(Error::Io(IoError::Failed { source, .. })) => assert_eq!(source.kind(), how),
                Err(Error::Io(IoError::DiskFull { free: 7, source, .. })) => assert_eq!(source.kind(), how),
                other => panic!("call {number}: {other:?}"),
            }
            let names = RealDisk.names(folder.path()).unwrap();
            assert!(!names.iter().any(|name| name.contains(".tmp-")), "call {number}: {names:?}");
            let path = folder.path().join("checkpoint-000000001.safetensors");
            assert_is(&read(&fs::read(path).unwrap()).unwrap(), 1);
            store.save(3, &state(3)).unwrap();
            assert_eq!(store.newest().unwrap().unwrap().checkpoint.state["step"], 3);
        }
        assert_eq!(failed, 5, "write, two syncs, rename, list");
    }
}

/// A disk that may lose or keep, at a power cut, whatever was not synced.
#[derive(Clone, Debug, Default)]
struct Volatile(Arc<Mutex<Files>>);

#[derive(Clone, Debug, Default)]
struct Files {
    /// The files that programs see: the index of each file's content.
    entries: BTreeMap<PathBuf, usize>,
    /// The entries that are on the disk, and each content, which is there or not.
    on_disk: BTreeMap<PathBuf, usize>,
    contents: Vec<(Vec<u8>, bool)>,
}

impl Files {
    /// Returns every state that a power cut may leave now: unsynced entries are old or new, unsynced contents empty.
    fn after_a_cut(&self) -> Vec<Files> {
        let emptied = |entries: &BTreeMap<PathBuf, usize>| {
            let mut files = self.clone();
            files.entries = entries.clone();
            files.contents.iter_mut().filter(|content| !content.1).for_each(|content| content.0.clear());
            files
        };
        vec![emptied(&self.entries), emptied(&self.on_disk)]
    }
}

impl Disk for Volatile {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let number = files.contents.len();
        files.contents.push((bytes.to_vec(), false));
        files.entries.insert(path.to_owned(), number);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        match files.entries.get(path).copied() {
            Some(number) => files.contents[number].1 = true,
            None => files.on_disk = files.entries.clone(),
        }
        Ok(())
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        unreachable!("a store's folder exists")
    }

    fn is_folder(&self, _: &Path) -> bool {
        unreachable!("a store's folder exists")
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let number = files.entries.remove(from).ok_or(ErrorKind::NotFound)?;
        files.entries.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().entries.remove(path).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        let files = self.0.lock().unwrap();
        let number = files.entries.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(files.contents[number].0.clone())))
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(self.0.lock().unwrap().entries.keys().map(name).collect())
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A [`Volatile`] disk that records after each operation what a power cut would leave.
#[derive(Clone, Debug, Default)]
struct CutAnywhere {
    disk: Volatile,
    cuts: Arc<Mutex<Vec<Files>>>,
}

impl CutAnywhere {
    fn then<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let files = self.disk.0.lock().unwrap().after_a_cut();
        self.cuts.lock().unwrap().extend(files);
        result
    }
}

impl Disk for CutAnywhere {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.then(self.disk.write_new(path, bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.then(self.disk.sync(path))
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        unreachable!("a store's folder exists")
    }

    fn is_folder(&self, _: &Path) -> bool {
        unreachable!("a store's folder exists")
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.then(self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.then(self.disk.remove(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        self.disk.open(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.names(folder)
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free(folder)
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_the_last_saved_state_or_a_newer_one() {
    let disk = CutAnywhere::default();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_on(disk.clone(), folder.path()).unwrap();
    let mut saved = 0;
    for step in 1..=4 {
        disk.cuts.lock().unwrap().clear();
        store.save(step, &state(step)).unwrap();
        // Until the last operation the previous state may be the newest; after it, it must not.
        let cuts = disk.cuts.lock().unwrap().clone();
        let (before, after) = cuts.split_at(cuts.len() - 2);
        for files in before {
            check_after_cut(files, saved, folder.path());
        }
        saved = step;
        for files in after {
            check_after_cut(files, saved, folder.path());
        }
        disk.cuts.lock().unwrap().clear();
        store.keep(2, &[]).unwrap();
        for files in disk.cuts.lock().unwrap().iter() {
            check_after_cut(files, saved, folder.path());
        }
    }
}

/// Checks that the newest checkpoint in these files is complete and no older than `saved`.
fn check_after_cut(files: &Files, saved: u64, folder: &Path) {
    let disk = Volatile(Arc::new(Mutex::new(files.clone())));
    let newest = || -> Result<Option<u64>> {
        let elsewhere = tempfile::tempdir().unwrap();
        // The lock is a real file; all others are where they were.
        let store = Store::open_on(Elsewhere { disk: disk.clone(), folder: folder.to_owned() }, elsewhere.path())?;
        Ok(store.newest()?.map(|found| {
            let step = found.checkpoint.state["step"].as_u64().unwrap();
            assert_is(&found.checkpoint, step);
            step
        }))
    };
    let newest = newest().unwrap_or_else(|error| panic!("after saving {saved}: {error}"));
    assert!(newest.unwrap_or(0) >= saved, "{newest:?} after saving {saved}");
}

/// The files of another disk, as if they were in the requested folder.
#[derive(Debug)]
struct Elsewhere {
    disk: Volatile,
    folder: PathBuf,
}

impl Elsewhere {
    fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path.file_name().unwrap())
    }
}

impl Disk for Elsewhere {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_new(&self.path(path), bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(&self.path(path))
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        unreachable!("a store's folder exists")
    }

    fn is_folder(&self, _: &Path) -> bool {
        unreachable!("a store's folder exists")
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        self.disk.open(&self.path(path))
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        self.disk.names(&self.folder)
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free(folder)
    }
}
