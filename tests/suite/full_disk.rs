//! Real disks that are full or cannot be written: file systems of a test's own, in memory.

use crate::process::{only, passes};
use crate::small_run::{fit, images, trainer};
use crate::variables::bits;
use densenet::error::IoError;
use densenet::report::HistoryFile;
use densenet::train::{Callback, CheckpointConfig, Event, Run, SaveEvery, SaveWeights};
use densenet::{Error, TrainConfig};
use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

const INSIDE: &str = "DENSENET_TEST_DISK";

/// Runs the named test again with a file system of this many KiB that only it sees, and returns its folder in that second run alone.
/// The file system is gone when the test's process is.
fn own_disk(test: &str, kib: u32) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size="$1"k tmpfs "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh", &kib.to_string()]);
    passes(command.arg(folder.path()).args(only(test)).env(INSIDE, folder.path()));
    None
}

#[test]
fn a_run_whose_disk_is_full_says_what_is_needed_and_leaves_what_was_saved() {
    let test = "full_disk::a_run_whose_disk_is_full_says_what_is_needed_and_leaves_what_was_saved";
    let Some(disk) = own_disk(test, 256) else { return };
    let config = CheckpointConfig::in_folder(disk.join("run")).with_every(SaveEvery::Steps(1)).with_keep_last(1000);
    let run = TrainConfig::new(1).with_batch_size(8);
    let mut first = trainer(run.clone()).with_checkpoints(config.clone());
    let error = fit(&mut first, &images(400, 0), &images(8, 1)).unwrap_err();
    let Error::Io(IoError::DiskFull { needed, free, path, .. }) = &error else { panic!("{error:?}") };
    let system = rustix::fs::statvfs(&disk).unwrap();
    assert_eq!(*free, system.f_bavail * system.f_frsize);
    drop(first);
    assert!(free < needed && *needed < 200_000 && path.starts_with(&disk), "{error}");
    for part in [&needed.to_string(), &free.to_string(), path.to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{error}");
    }

    let entries = fs::read_dir(disk.join("run")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let before_the_full_one = names.len();
    assert!(before_the_full_one > 2);
    let expected = (1..=before_the_full_one).map(|step| format!("checkpoint-{step:09}.safetensors"));
    assert_eq!(names, expected.collect::<Vec<_>>(), "checkpoints and nothing else");

    fs::remove_file(disk.join("run/checkpoint-000000001.safetensors")).unwrap();
    let resumed_from = Rc::new(RefCell::new(None));
    let mut second = trainer(run)
        .with_checkpoints(config.with_keep_last(2).with_resume())
        .with_callback(ResumedFrom(resumed_from.clone()));
    assert_eq!(fit(&mut second, &images(400, 0), &images(8, 1)).unwrap().epochs.len(), 1);
    assert_eq!(*resumed_from.borrow(), Some((before_the_full_one, 0)), "the newest, with none skipped");
}

/// Keeps the step from which a run resumed, and the number of checkpoints that it skipped.
struct ResumedFrom(Rc<RefCell<Option<(usize, usize)>>>);

impl Callback for ResumedFrom {
    fn on_event(&mut self, event: &Event, _: &Run) -> densenet::Result<ControlFlow<()>> {
        if let Event::Resumed { step, skipped, .. } = event {
            *self.0.borrow_mut() = Some((*step, skipped.len()));
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn weights_that_do_not_fit_onto_the_disk_say_what_is_needed() {
    let Some(disk) = own_disk("full_disk::weights_that_do_not_fit_onto_the_disk_say_what_is_needed", 8) else { return };
    let weights = disk.join("model.safetensors");
    let mut trainer = trainer(TrainConfig::new(1).with_batch_size(8)).with_callback(SaveWeights::to(&weights));
    match fit(&mut trainer, &images(16, 0), &images(8, 1)) {
        Err(Error::Io(IoError::DiskFull { needed, free: 8192, path, .. })) => assert!(needed > 8192 && path == weights),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
}

/// Permissions would not stop the administrator, as whom tests often run.
#[test]
fn a_disk_that_is_read_only_is_an_error_at_the_start() {
    let Some(disk) = own_disk("full_disk::a_disk_that_is_read_only_is_an_error_at_the_start", 256) else { return };
    fs::create_dir(disk.join("run")).unwrap();
    let read_only = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().unwrap();
    assert!(read_only.success());
    let run = || trainer(TrainConfig::new(1).with_batch_size(8));
    for wanted in [disk.join("run"), disk.join("new")] {
        let is_at = |outcome: Result<(), Error>| match outcome {
            Err(Error::Io(IoError::Failed { path, source, .. })) => {
                assert_eq!((path, source.kind()), (wanted.clone(), std::io::ErrorKind::ReadOnlyFilesystem));
            }
            other => panic!("{other:?}"),
        };
        let config = CheckpointConfig::in_folder(&wanted);
        for config in [config.clone(), config.with_resume()] {
            is_at(fit(&mut run().with_checkpoints(config), &images(16, 0), &images(8, 1)).map(drop));
        }
        #[cfg(feature = "report")]
        is_at(densenet::report::RunFolder::at(&wanted).map(drop));
    }
    let refused_before_the_first_step = |path: &Path, mut trainer: densenet::Trainer<densenet::DenseNet>| {
        let before = bits(trainer.var_store());
        match fit(&mut trainer, &images(16, 0), &images(8, 1)) {
            Err(Error::Io(IoError::Failed { path: named, .. })) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
        assert!(bits(trainer.var_store()) == before);
    };
    let file = disk.join("run/file");
    refused_before_the_first_step(&file, run().with_callback(SaveWeights::to(&file)));
    refused_before_the_first_step(&file, run().with_callback(HistoryFile::csv(&file)));
}
