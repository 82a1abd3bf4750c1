//! The folder of a run's results: fit to be written before the run, and never another run's.

use densenet::Error;
use densenet::error::{CheckpointError, IoError};
use densenet::report::RunFolder;
use std::fs;
use std::path::Path;

const FILES: [&str; 5] = ["history.csv", "report.html", "curves.png", "predictions.png", "model.safetensors"];

fn io_error_at(path: &Path) {
    let error = RunFolder::at(path).unwrap_err();
    let Error::Io(IoError::Failed { path: named, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(named, path);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_new_folder_is_created_and_used_by_one_run_and_left_empty() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    for _ in 0..2 {
        let folder = RunFolder::at(&path).unwrap();
        assert_eq!((folder.path(), folder.file("x.png")), (path.as_path(), path.join("x.png")));
        match RunFolder::resumed(&path) {
            Err(Error::Checkpoint(CheckpointError::FolderInUse { holder, .. })) => {
                assert_eq!(holder, format!("process {}", std::process::id()))
            }
            other => panic!("{other:?}"),
        }
        drop(folder);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }
}

#[test]
fn a_file_where_a_folder_is_wanted_is_an_error_that_names_it() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    io_error_at(&file);
    io_error_at(&file.join("below"));
    assert!(matches!(RunFolder::numbered(&file), Err(Error::Io(IoError::Failed { path, .. })) if path == file));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

/// Permissions would not stop the administrator, as whom tests often run; the kernel's own file system does.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    io_error_at(Path::new("/proc/self"));
    io_error_at(Path::new("/proc/densenet"));
    assert!(
        matches!(RunFolder::numbered("/proc/self"), Err(Error::Io(IoError::Failed { path, .. })) if path == Path::new("/proc/self/001"))
    );
}

#[test]
fn a_folder_that_holds_a_run_is_an_error_and_stays_as_it_is() {
    for file in FILES {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), "a run's").unwrap();
        match RunFolder::at(folder.path()) {
            Err(Error::Checkpoint(CheckpointError::RunExists { folder: named, file: found })) => {
                assert_eq!((named.as_path(), found), (folder.path(), file));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(folder.path().join(file)).unwrap(), b"a run's");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
    let notes = tempfile::tempdir().unwrap();
    fs::write(notes.path().join("notes.txt"), "mine").unwrap();
    RunFolder::at(notes.path()).unwrap();
}

/// A folder with these files in it, each with its text; a name that ends with a slash is a folder.
fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        match name.ends_with('/') {
            true => fs::create_dir_all(path).unwrap(),
            false => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
    }
    folder
}

const HEADER: &str = "epoch,train_loss\n";

#[test]
fn results_without_a_checkpoint_cannot_be_resumed_and_stay_as_they_are() {
    let history = format!("{HEADER}1,0.5\n");
    for file in FILES {
        let text = if file == "history.csv" { history.as_str() } else { "a run's" };
        let leftover = ("checkpoints/.checkpoint-000000001.safetensors.tmp-1-0123456789abcdef", "a part");
        for more in [vec![], vec![("checkpoints/", "")], vec![leftover]] {
            let folder = folder_with(&[vec![(file, text)], more].concat());
            match RunFolder::resumed(folder.path()) {
                Err(Error::Checkpoint(CheckpointError::NoCheckpoint { folder: named, file: found })) => {
                    assert_eq!((named.as_path(), found), (folder.path(), file));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), text);
        }
    }
    let folder = folder_with(&[("history.csv", &history)]);
    let error = RunFolder::resumed(folder.path()).unwrap_err().to_string();
    let path = folder.path().display();
    assert_eq!(
        error,
        format!(
            "{path} holds results of a run (history.csv), but no checkpoint to resume from: name another folder, or remove them"
        )
    );
    let binary = tempfile::tempdir().unwrap();
    fs::write(binary.path().join("history.csv"), [0xff; 9]).unwrap();
    assert!(matches!(
        RunFolder::resumed(binary.path()),
        Err(Error::Checkpoint(CheckpointError::NoCheckpoint { file: "history.csv", .. }))
    ));
}

#[test]
fn results_with_a_checkpoint_and_what_is_left_before_the_first_epoch_can_be_resumed() {
    let results = [("history.csv", "epoch\n1\n"), ("model.safetensors", "a run's"), ("report.html", "a run's")];
    for checkpoint in ["checkpoint-000000001.safetensors", "damaged-checkpoint-000000001.safetensors"] {
        let checkpoint = format!("checkpoints/{checkpoint}");
        let folder = folder_with(&[&results[..], &[(&checkpoint, "a state")]].concat());
        RunFolder::resumed(folder.path()).unwrap();
    }
    let leftovers: [&[(&str, &str)]; 5] = [
        &[],
        &[("history.csv", HEADER)],
        &[("history.csv", "")],
        &[("checkpoints/", ""), ("history.csv", HEADER)],
        &[("checkpoints/.checkpoint-000000001.safetensors.tmp-1-0123456789abcdef", "a part"), (".lock", "process 1\n")],
    ];
    for files in leftovers {
        let folder = folder_with(files);
        RunFolder::resumed(folder.path()).unwrap_or_else(|error| panic!("{files:?}: {error}"));
    }
}

#[test]
fn a_file_in_place_of_the_checkpoints_is_an_error_that_names_it() {
    let folder = folder_with(&[("checkpoints", "a file")]);
    match RunFolder::resumed(folder.path()) {
        Err(Error::Io(IoError::Failed { path, .. })) => assert_eq!(path, folder.path().join("checkpoints")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbered_folders_take_the_first_free_number() {
    let parent = tempfile::tempdir().unwrap();
    let runs = parent.path().join("runs");
    let next = || RunFolder::numbered(&runs).unwrap().path().strip_prefix(&runs).unwrap().to_owned();
    assert_eq!(next(), Path::new("001"));
    assert_eq!(next(), Path::new("002"));
    fs::write(runs.join("003"), "a file").unwrap();
    assert_eq!(next(), Path::new("004"));
    fs::remove_dir(runs.join("002")).unwrap();
    assert_eq!(next(), Path::new("002"));
}

#[cfg(feature = "report")]
mod report {
    use super::FILES;
    use crate::small_run::{Watch, fit, images, record, trainer};
    use crate::variables::bits;
    use densenet::error::{CheckpointError, IoError};
    use densenet::report::{HistoryFile, Report, RunFolder};
    use densenet::train::{Event, Run, SaveWeights};
    use densenet::{Error, TrainConfig};
    use std::fs;
    use std::ops::ControlFlow;
    use std::path::Path;

    fn page(folder: &Path) -> String {
        for image in ["curves.png", "predictions.png"] {
            assert!(fs::read(folder.join(image)).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"), "{image}");
        }
        fs::read_to_string(folder.join("report.html")).unwrap()
    }

    #[test]
    fn a_run_leaves_the_five_files_which_are_complete_after_every_epoch() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(parent.path().join("run")).unwrap();
        let path = folder.path().to_owned();
        let (pages, watch) = record(move |event, _| matches!(event, Event::EpochEnded { .. }).then(|| page(&path)));
        let report = Report::in_folder(folder.path())
            .with_title("A title of its own")
            .with_summary("a summary of its own")
            .with_metadata("Metadata of its own", [("number", 4711)]);
        let mut trainer = trainer(TrainConfig::new(2).with_batch_size(8))
            .with_callback(HistoryFile::csv(folder.file("history.csv")))
            .with_callback(SaveWeights::to(folder.file("model.safetensors")))
            .with_callback(report)
            .with_callback(watch);
        fit(&mut trainer, &images(20, 0), &images(30, 1)).unwrap();
        let path = folder.path().to_owned();
        drop(folder);
        let (pages, last) = (pages.borrow(), page(&path));
        assert_eq!(pages.len(), 2);
        assert!(pages[0] != pages[1] && pages[1] != last, "the page grows, and in the end says that it is the end");
        for part in
            ["A title of its own", "a summary of its own", "Metadata of its own", "4711", "pattern 3", "batch size"]
        {
            assert!(last.contains(part), "{part}");
        }
        let mut files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        let mut expected = FILES;
        expected.sort_unstable();
        assert_eq!(files, expected);
        assert!(matches!(RunFolder::at(&path), Err(Error::Checkpoint(CheckpointError::RunExists { .. }))));
    }

    #[test]
    fn a_run_that_is_stopped_in_its_first_epoch_leaves_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(TrainConfig::new(2).with_batch_size(8))
            .with_callback(Report::in_folder(folder.path()))
            .with_callback(Watch(|event: &Event, _: &Run| match event {
                Event::StepEnded { .. } => Ok(ControlFlow::Break(())),
                _ => Ok(ControlFlow::Continue(())),
            }));
        let history = fit(&mut trainer, &images(20, 0), &images(8, 1)).unwrap();
        assert!(history.epochs.is_empty());
        let page = page(folder.path());
        assert!(page.contains("pattern 3"), "the images are there, under what the net says now");
    }

    #[test]
    fn a_missing_folder_is_an_error_before_the_first_step() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let mut trainer = trainer(TrainConfig::new(2).with_batch_size(8)).with_callback(Report::in_folder(&missing));
        let before = bits(trainer.var_store());
        let error = fit(&mut trainer, &images(20, 0), &images(8, 1)).unwrap_err();
        assert!(matches!(&error, Error::Io(IoError::Failed { path, .. }) if path.starts_with(&missing)), "{error:?}");
        assert!(bits(trainer.var_store()) == before);
    }
}
