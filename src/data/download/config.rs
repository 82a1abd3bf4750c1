//! What is fetched, from where, and with how much patience.

use super::mirror::Mirror;
use super::part::{Part, remove_old_parts};
use crate::data::fashion_mnist::{FOLDER, NAME, known_files};
use crate::data::locate::{cache_folder, find_file};
use crate::data::{FashionMnist, KnownFile, Split};
use crate::error::{DownloadAttempt, DownloadProblem};
use crate::{Error, Result};
use std::fs::create_dir_all;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Configuration of a download: every file from the first mirror that delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadConfig {
    /// The data set's name in messages.
    pub dataset: String,
    /// The files; each is fetched and kept compressed, under its name with `.gz`.
    pub files: Vec<KnownFile>,
    /// The addresses of the folders that have the files, in the order in which they are asked. `https`, or `http` on this machine.
    pub mirrors: Vec<String>,
    /// How long a connection may take to come about. Default 10 seconds.
    pub connect_timeout: Duration,
    /// How long a server may send nothing. Default 30 seconds.
    pub stall_timeout: Duration,
    /// How long one file may take from one mirror. Default 30 minutes.
    pub file_timeout: Duration,
}

impl DownloadConfig {
    /// Files of a data set, without mirrors.
    pub fn new(dataset: impl Into<String>, files: Vec<KnownFile>) -> Self {
        DownloadConfig {
            dataset: dataset.into(),
            files,
            mirrors: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            file_timeout: Duration::from_secs(30 * 60),
        }
    }

    /// The four files of Fashion-MNIST (31 MB), from its publisher's storage, its publisher's repository, and Keras's storage.
    pub fn fashion_mnist() -> Self {
        let files = [Split::Train, Split::Test].into_iter().flat_map(known_files).collect();
        let mirrors = [
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ];
        Self::new(NAME, files).with_mirrors(mirrors.map(str::to_owned).to_vec())
    }

    setters! {
        with_files => files: Vec<KnownFile>,
        with_mirrors => mirrors: Vec<String>,
        with_connect_timeout => connect_timeout: Duration,
        with_stall_timeout => stall_timeout: Duration,
        with_file_timeout => file_timeout: Duration,
    }

    /// Fetches what is not yet in the folder, which is created where it is missing, and returns the folder.
    ///
    /// A file appears under its name only when it is complete, verified and on the disk; until then it is a `.part`. Shows a
    /// progress bar where the error output is a terminal. A file that is there is fetched again if it is damaged, but an intact
    /// one with other content is left alone: it belongs to another data set.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] where no mirror delivered a file, with what each said; [`Error::OtherContent`]; [`Error::Io`];
    /// [`Error::InvalidConfig`] for a mirror that is neither `https` nor on this machine.
    pub fn fetch_into(&self, folder: impl AsRef<Path>) -> Result<PathBuf> {
        let folder = folder.as_ref();
        let mirrors = self.mirrors.iter().map(|url| Mirror::new(url, self)).collect::<Result<Vec<_>>>()?;
        create_dir_all(folder).map_err(|source| Error::Io { action: "create", path: folder.to_owned(), source })?;
        for file in &self.files {
            remove_old_parts(folder, &file.name);
            if !self.is_there(folder, file)? {
                self.fetch(folder, file, &mirrors)?;
            }
        }
        Ok(folder.to_owned())
    }

    fn is_there(&self, folder: &Path, file: &KnownFile) -> Result<bool> {
        let Some(path) = find_file(folder, &file.name, "") else { return Ok(false) };
        match file.read(&path, &self.dataset) {
            Ok(_) => Ok(true),
            Err(Error::Idx { .. } | Error::DamagedGzip { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fetch(&self, folder: &Path, file: &KnownFile, mirrors: &[Mirror]) -> Result<()> {
        let mut attempts = Vec::new();
        for mirror in mirrors {
            let mut part = Part::create(folder, &file.name)?;
            match mirror.fetch(file, &mut part)? {
                Ok(()) => match file.read(part.path(), &self.dataset) {
                    Ok(_) => return part.commit(&folder.join(format!("{}.gz", file.name))),
                    Err(error) => attempts.push(attempt(mirror, file, DownloadProblem::Content(Box::new(error)))),
                },
                Err(problem) => attempts.push(attempt(mirror, file, problem)),
            }
        }
        Err(Error::Download { name: file.name.clone(), attempts })
    }
}

fn attempt(mirror: &Mirror, file: &KnownFile, problem: DownloadProblem) -> DownloadAttempt {
    DownloadAttempt { url: mirror.url(file), problem }
}

impl FashionMnist {
    /// Fetches Fashion-MNIST (31 MB) into the user's cache, where [`open`](Self::open) finds it, and returns the folder.
    ///
    /// Files that are there already are not fetched again. Nothing else in this crate uses the network.
    /// [`DownloadConfig`] has the details.
    ///
    /// # Errors
    ///
    /// As [`DownloadConfig::fetch_into`]; [`Error::InvalidConfig`] where there is no home folder.
    pub fn download() -> Result<PathBuf> {
        let (value, expected) = ("unknown".to_owned(), "named by XDG_CACHE_HOME or HOME, or given to download_into");
        let no_home = Error::InvalidConfig { field: "folder for the download", value, expected };
        Self::download_into(cache_folder(FOLDER).ok_or(no_home)?)
    }

    /// Fetches Fashion-MNIST into this folder, for [`open_in`](Self::open_in), and returns the folder.
    ///
    /// # Errors
    ///
    /// As [`DownloadConfig::fetch_into`].
    pub fn download_into(folder: impl AsRef<Path>) -> Result<PathBuf> {
        DownloadConfig::fashion_mnist().fetch_into(folder)
    }
}
