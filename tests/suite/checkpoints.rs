//! Folders in which a run cannot save.

use crate::small_run::{fit, images, trainer};
use densenet::error::IoError;
use densenet::train::CheckpointConfig;
use densenet::{Error, TrainConfig};
use std::fs;
use std::path::PathBuf;

#[test]
fn a_folder_that_cannot_be_one_is_an_error_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    for wanted in [file.clone(), file.join("below"), PathBuf::from("/proc/self"), PathBuf::from("/proc/densenet")] {
        let config = CheckpointConfig::in_folder(&wanted);
        for config in [config.clone(), config.with_resume()] {
            let mut trainer = trainer(TrainConfig::new(1)).with_checkpoints(config);
            match fit(&mut trainer, &images(16, 0), &images(4, 1)) {
                Err(Error::Io(IoError::Failed { path, .. })) => assert_eq!(path, wanted),
                other => panic!("{}: {other:?}", wanted.display()),
            }
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}
