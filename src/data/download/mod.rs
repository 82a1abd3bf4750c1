//! Download of Fashion-MNIST over HTTPS, only when a program calls it.

mod mirror;
#[cfg(test)]
mod tests;

use super::fashion_mnist::{FOLDER, NAME, known_files};
use super::idx::open;
use super::known_file::KnownFile;
use super::locate::{cache_folder, find_file};
use super::{FashionMnist, Split};
use crate::error::DataError;
use crate::{Error, Result, files};
use mirror::Mirror;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files to fetch, each from the first mirror that delivers it.
#[derive(Clone)]
struct Download {
    /// The data set's name in messages.
    dataset: &'static str,
    /// The files; each is fetched and stored compressed, under its name with `.gz`.
    files: Vec<KnownFile>,
    /// The addresses of the folders that have the files, in the order in which they are tried: `https`, or `http` on
    /// this machine.
    mirrors: Vec<String>,
    /// Timeout of the connection.
    connect_timeout: Duration,
    /// Longest time without data from the server.
    stall_timeout: Duration,
    /// Timeout of one file from one mirror.
    file_timeout: Duration,
}

impl Download {
    /// The four files of Fashion-MNIST (31 MB), from its publisher's storage, its publisher's repository, and Keras's
    /// storage.
    fn fashion_mnist() -> Self {
        let mirrors = [
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ];
        Download {
            dataset: NAME,
            files: [Split::Train, Split::Test].into_iter().flat_map(known_files).collect(),
            mirrors: mirrors.map(str::to_owned).to_vec(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            file_timeout: Duration::from_secs(30 * 60),
        }
    }

    /// Fetches the files that are not in the folder yet. The folder is created where it is missing.
    fn fetch_into(&self, folder: &Path) -> Result<PathBuf> {
        let mirrors = self.mirrors.iter().map(|url| Mirror::new(url, self)).collect::<Result<Vec<_>>>()?;
        files::create_folder(folder)?;
        for file in &self.files {
            let target = folder.join(format!("{}.gz", file.name));
            files::remove_old_temporaries(&target);
            if !self.is_there(folder, file)? {
                self.fetch_file(file, &target, &mirrors)?;
            }
        }
        Ok(folder.to_owned())
    }

    fn is_there(&self, folder: &Path, file: &KnownFile) -> Result<bool> {
        let Some(path) = find_file(folder, file.name, "") else { return Ok(false) };
        match file.read(open(&path)?, &path, self.dataset) {
            Ok(_) => Ok(true),
            Err(Error::Data(DataError::Idx { .. }) | Error::Data(DataError::DamagedGzip { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fetch_file(&self, file: &KnownFile, target: &Path, mirrors: &[Mirror]) -> Result<()> {
        let mut attempts = Vec::new();
        for mirror in mirrors {
            let verified = mirror.fetch_file(file).and_then(|bytes| {
                file.read(&*bytes, target, self.dataset)?;
                Ok(bytes)
            });
            match verified {
                Ok(bytes) => return files::replace(target, &bytes),
                Err(error) => attempts.push((mirror.url(file), error)),
            }
        }
        Err(Error::Data(DataError::Download { name: file.name.to_owned(), attempts }))
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "download")))]
impl FashionMnist {
    /// Fetches Fashion-MNIST (31 MB) into the user's cache, where [`open`](Self::open) finds it, and returns the
    /// folder. Nothing else in this crate uses the network.
    ///
    /// Apart from the folder it does the same as [`download_into`](Self::download_into).
    ///
    /// # Errors
    ///
    /// Those of [`download_into`](Self::download_into), and
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) where there is no home folder.
    pub fn download() -> Result<PathBuf> {
        let (value, expected) = ("unknown".to_owned(), "named by XDG_CACHE_HOME or HOME, or given to download_into");
        let no_home = Error::invalid_value("folder for the download", value, expected);
        Self::download_into(cache_folder(FOLDER).ok_or(no_home)?)
    }

    /// Fetches Fashion-MNIST into this folder, for [`open_in`](Self::open_in), and returns the folder, which is created
    /// where it is missing.
    ///
    /// A file appears under its name only when it is complete, verified and on the disk. Shows a progress bar where the
    /// error output is a terminal. An intact file that is there already is not fetched again, and a damaged one is; an
    /// intact file with other content is not replaced, since it belongs to another data set.
    ///
    /// # Errors
    ///
    /// [`DataError::Download`] where the download from every mirror failed, with the reason of each;
    /// [`DataError::OtherContent`]; [`IoError::DiskFull`](crate::error::IoError::DiskFull),
    /// [`IoError::Failed`](crate::error::IoError::Failed).
    pub fn download_into(folder: impl AsRef<Path>) -> Result<PathBuf> {
        Download::fashion_mnist().fetch_into(folder.as_ref())
    }
}
