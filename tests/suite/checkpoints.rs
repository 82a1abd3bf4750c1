//! Checkpoints are complete or absent, whatever fails in between.

use crate::small_run::{fit, images, trainer};
use densenet::checkpoint::{Checkpoint, Disk, RealDisk, Store};
use densenet::error::CheckpointProblem;
use densenet::tch::{Kind, Tensor};
use densenet::train::{CheckpointConfig, Resume};
use densenet::{Error, Result, TrainConfig};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A state that tells its step from others.
fn state(step: u64) -> Checkpoint {
    let weight = Tensor::from_slice(&[step as f32, 0.1, -2.5]);
    let count = Tensor::from_slice(&[step as i64]);
    let tensors = BTreeMap::from([("weight".to_owned(), weight), ("count".to_owned(), count)]);
    Checkpoint { state: json!({ "step": step, "loss": 0.1 + step as f64 }), tensors }
}

fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointProblem> {
    Checkpoint::read(Cursor::new(bytes))
}

fn assert_is(found: &Checkpoint, step: u64) {
    let expected = state(step);
    assert_eq!(found.state, expected.state);
    assert_eq!(found.tensors.keys().collect::<Vec<_>>(), expected.tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &expected.tensors {
        assert!(found.tensors[name].equal(tensor) && found.tensors[name].kind() == tensor.kind(), "{name}");
    }
}

#[test]
fn a_checkpoint_reads_back_to_the_last_bit_and_equal_ones_have_equal_bytes() {
    let numbers = [0.1, 1.0 / 3.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.49999999999999994, -1.7976931348623155e308];
    let tensors = BTreeMap::from([
        ("f64".to_owned(), Tensor::from_slice(&numbers)),
        ("bf16".to_owned(), Tensor::from_slice(&[1.5_f32, f32::NAN]).to_kind(Kind::BFloat16)),
        ("empty".to_owned(), Tensor::zeros([0, 3], (Kind::Float, densenet::tch::Device::Cpu))),
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
    let deep = BTreeMap::from([("deep".to_owned(), Tensor::zeros([1; 9], (Kind::Float, densenet::tch::Device::Cpu)))]);
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
    assert_eq!(found.step, 2);
    assert_is(&found.checkpoint, 2);
    // Set aside it stays, and does not count among those that are kept.
    store.set_aside(&paths[2]).unwrap();
    store.keep(2, &[]).unwrap();
    assert_eq!(store.steps().unwrap(), [1, 2]);
    let aside = folder.path().join("damaged-checkpoint-000000003.safetensors");
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    fs::rename(&aside, &paths[2]).unwrap();
    let named = found.passed_over[0].to_string();
    assert!(named.contains("checkpoint-000000003") && named.contains("damaged"), "{named}");
    for path in &paths {
        fs::write(path, b"").unwrap();
    }
    assert!(matches!(store.newest(), Err(Error::Checkpoint { problem: CheckpointProblem::NoDigest, .. })));
}

#[test]
fn old_checkpoints_go_and_the_newest_two_and_the_best_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for step in [10, 2, 33, 4, 25] {
        store.save(step, &state(step)).unwrap();
    }
    store.keep(3, &[2]).unwrap();
    assert_eq!(store.steps().unwrap(), [2, 10, 25, 33]);
    store.keep(0, &[]).unwrap();
    assert_eq!(store.steps().unwrap(), [25, 33]);
}

#[test]
fn a_folder_has_one_run_and_is_free_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    match Store::open(folder.path()) {
        Err(Error::FolderInUse { holder, .. }) => assert_eq!(holder, format!("process {}", std::process::id())),
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
fn a_folder_that_cannot_be_one_is_an_error_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    for wanted in [file.clone(), file.join("below"), PathBuf::from("/proc/self"), PathBuf::from("/proc/densenet")] {
        for resume in [Resume::Never, Resume::IfPresent] {
            let config = CheckpointConfig::in_folder(&wanted).with_resume(resume);
            let mut trainer = trainer(TrainConfig::new(1)).with_checkpoints(config);
            match fit(&mut trainer, &images(16, 0), &images(4, 1)) {
                Err(Error::Io { path, .. }) => assert_eq!(path, wanted),
                other => panic!("{}: {other:?}", wanted.display()),
            }
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
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
    let mut names: Vec<_> = RealDisk.names(folder.path()).unwrap();
    names.sort();
    let others = ["checkpoint-+00000007.safetensors", "checkpoint-7.safetensors"];
    assert_eq!(names, [".hidden", ".lock", ".mine.tmp-1", others[0], others[1], "notes.txt"]);
}

/// Files of the operating system of which one call fails.
#[derive(Clone)]
struct FailsOnce {
    /// Calls until then.
    left: Rc<Cell<i32>>,
    how: ErrorKind,
}

impl FailsOnce {
    fn call<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 { Err(self.how.into()) } else { call() }
    }
}

impl Disk for FailsOnce {
    type File = fs::File;

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.left.get() == 1 {
            // A disk that is full takes a part.
            RealDisk.write_new(path, &bytes[..bytes.len() / 2])?;
        }
        self.call(|| RealDisk.write_new(path, bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.sync(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove(path))
    }

    fn open(&self, path: &Path) -> io::Result<fs::File> {
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
            let left = Rc::new(Cell::new(0));
            let store = Store::open_on(FailsOnce { left: left.clone(), how }, folder.path()).unwrap();
            store.save(1, &state(1)).unwrap();
            left.set(number);
            let saved = store.save(2, &state(2)).and_then(|_| store.keep(2, &[]));
            let never_came = left.get() > 0;
            left.set(0);
            if never_came {
                saved.unwrap();
                break;
            }
            failed += 1;
            match saved {
                Err(Error::Io { source, .. }) => assert_eq!(source.kind(), how),
                Err(Error::DiskFull { free: 7, source, .. }) => assert_eq!(source.kind(), how),
                other => panic!("call {number}: {other:?}"),
            }
            let names = RealDisk.names(folder.path()).unwrap();
            assert!(!names.iter().any(|name| name.contains(".tmp-")), "call {number}: {names:?}");
            let path = folder.path().join("checkpoint-000000001.safetensors");
            assert_is(&read(&fs::read(path).unwrap()).unwrap(), 1);
            store.save(3, &state(3)).unwrap();
            assert_eq!(store.newest().unwrap().unwrap().step, 3);
        }
        assert_eq!(failed, 5, "write, two syncs, rename, list");
    }
}

/// A disk that forgets at a power cut what was not forced onto it, or keeps it, as it likes.
#[derive(Clone, Default)]
struct Volatile(Rc<RefCell<Files>>);

#[derive(Clone, Default)]
struct Files {
    /// What programs see: the number of each file's content.
    entries: BTreeMap<PathBuf, usize>,
    /// The entries that are on the disk, and each content, which is there or not.
    on_disk: BTreeMap<PathBuf, usize>,
    contents: Vec<(Vec<u8>, bool)>,
}

impl Files {
    /// Everything that may be there after a power cut now: unsynced entries are old or new, unsynced contents empty.
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
    type File = Cursor<Vec<u8>>;

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let number = files.contents.len();
        files.contents.push((bytes.to_vec(), false));
        files.entries.insert(path.to_owned(), number);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        match files.entries.get(path).copied() {
            Some(number) => files.contents[number].1 = true,
            None => files.on_disk = files.entries.clone(),
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let number = files.entries.remove(from).ok_or(ErrorKind::NotFound)?;
        files.entries.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.borrow_mut().entries.remove(path).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Self::File> {
        let files = self.0.borrow();
        let number = files.entries.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Cursor::new(files.contents[number].0.clone()))
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(self.0.borrow().entries.keys().map(name).collect())
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// [`Volatile`] that notes after each call what a power cut would leave.
#[derive(Clone, Default)]
struct CutAnywhere {
    disk: Volatile,
    cuts: Rc<RefCell<Vec<Files>>>,
}

impl CutAnywhere {
    fn then<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let files = self.disk.0.borrow().after_a_cut();
        self.cuts.borrow_mut().extend(files);
        result
    }
}

impl Disk for CutAnywhere {
    type File = Cursor<Vec<u8>>;

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.then(self.disk.write_new(path, bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.then(self.disk.sync(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.then(self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.then(self.disk.remove(path))
    }

    fn open(&self, path: &Path) -> io::Result<Self::File> {
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
        disk.cuts.borrow_mut().clear();
        store.save(step, &state(step)).unwrap();
        // Up to the last call the state before may be all there is; after it, not.
        let cuts = disk.cuts.borrow().clone();
        let (before, after) = cuts.split_at(cuts.len() - 2);
        for files in before {
            check_after_cut(files, saved, folder.path());
        }
        saved = step;
        for files in after {
            check_after_cut(files, saved, folder.path());
        }
        disk.cuts.borrow_mut().clear();
        store.keep(2, &[]).unwrap();
        for files in disk.cuts.borrow().iter() {
            check_after_cut(files, saved, folder.path());
        }
    }
}

/// The newest checkpoint that these files hold is complete and no older than `saved`.
fn check_after_cut(files: &Files, saved: u64, folder: &Path) {
    let disk = Volatile(Rc::new(RefCell::new(files.clone())));
    let newest = || -> Result<Option<u64>> {
        let elsewhere = tempfile::tempdir().unwrap();
        // The lock is a real file; all others are where they were.
        let store = Store::open_on(Elsewhere { disk: disk.clone(), folder: folder.to_owned() }, elsewhere.path())?;
        Ok(store.newest()?.map(|found| {
            assert_is(&found.checkpoint, found.step);
            found.step
        }))
    };
    let newest = newest().unwrap_or_else(|error| panic!("after saving {saved}: {error}"));
    assert!(newest.unwrap_or(0) >= saved, "{newest:?} after saving {saved}");
}

/// Another disk's files as if they were in the folder that is asked for.
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
    type File = Cursor<Vec<u8>>;

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_new(&self.path(path), bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(&self.path(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }

    fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.open(&self.path(path))
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        self.disk.names(&self.folder)
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free(folder)
    }
}
