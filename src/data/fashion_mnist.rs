//! Fashion-MNIST: 70,000 gray images of clothes, 28×28 pixels, ten classes.

use super::idx::{open, pair_dataset};
use super::in_memory::in_memory_datasets;
use super::known_file::KnownFile;
use super::{InMemoryDataset, locate};
use crate::error::DataError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// A part of a data set as its publisher divided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Split {
    /// The samples that a model learns from.
    Train,
    /// The samples that only evaluate the model.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}

/// Fashion-MNIST in memory: 60,000 training or 10,000 test images of shape `[1, 28, 28]`, as bytes.
///
/// [`open`](Self::open) looks for the files and never downloads them; their digests are verified. MNIST uses the same
/// file names: open it with [`InMemoryDataset::open_idx`](super::InMemoryDataset::open_idx).
///
/// # Examples
///
/// ```no_run
/// use densenet::data::{FashionMnist, Split};
///
/// let train = FashionMnist::open(Split::Train)?;
/// let test = FashionMnist::open(Split::Test)?;
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// # Source
///
/// Xiao, Rasul, Vollgraf: Fashion-MNIST, a novel image dataset for benchmarking machine learning algorithms (2017).
#[derive(Clone, Debug)]
pub struct FashionMnist {
    split: Split,
    images_path: PathBuf,
    labels_path: PathBuf,
    dataset: InMemoryDataset,
}

impl FashionMnist {
    /// The names of the classes in the order of their indices.
    pub const CLASSES: [&'static str; 10] =
        ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

    /// Opens a split from the first of these folders that has its files: the one that the environment variable
    /// `DENSENET_DATA` names, `densenet/fashion-mnist` in the user's cache (`$XDG_CACHE_HOME` or `~/.cache`), and
    /// `/usr/share/datasets/fashion-mnist` of Debian's package `dataset-fashion-mnist`.
    ///
    /// In each folder the files may be compressed or not, and named as in the original, with a dot for a dash
    /// (`train-images.idx3-ubyte`), or in torchvision's folders (`FashionMNIST/raw`).
    ///
    /// # Errors
    ///
    /// [`DataError::DatasetNotFound`]; [`DataError::OtherContent`] for another data set's files under these names;
    /// [`Error::Io`], [`DataError::DamagedGzip`], [`DataError::Idx`].
    pub fn open(split: Split) -> Result<Self> {
        Self::open_among(locate::usual_folders(FOLDER), split)
    }

    /// Opens a split from this folder, with the files named in any of the ways that [`open`](Self::open) knows.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_in(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        Self::open_among(vec![folder.as_ref().to_owned()], split)
    }

    fn open_among(folders: Vec<PathBuf>, split: Split) -> Result<Self> {
        let [images, labels] = known_files(split);
        let both = |folder: &PathBuf| {
            let find = |file: &KnownFile| locate::find_file(folder, file.name, "FashionMNIST/raw");
            Some((find(&images)?, find(&labels)?))
        };
        let Some((images_path, labels_path)) = folders.iter().find_map(both) else {
            let dataset = format!("{NAME} ({split}: {}[.gz] with {}[.gz])", images.name, labels.name);
            return Err(Error::Data(DataError::DatasetNotFound { dataset, looked_in: folders, remedy: REMEDY }));
        };
        let images = images.read(open(&images_path)?, &images_path, NAME)?;
        let labels = labels.read(open(&labels_path)?, &labels_path, NAME)?;
        let dataset = pair_dataset((&images_path, images), (&labels_path, labels), &Self::CLASSES)?;
        Ok(FashionMnist { split, images_path, labels_path, dataset })
    }

    /// Returns the split that was opened.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Returns the path of the file with the images.
    pub fn images_path(&self) -> &Path {
        &self.images_path
    }

    /// Returns the path of the file with the labels.
    pub fn labels_path(&self) -> &Path {
        &self.labels_path
    }

    /// Returns all samples and labels as a data set in memory.
    pub fn in_memory(&self) -> &InMemoryDataset {
        &self.dataset
    }
}

in_memory_datasets!(FashionMnist);

/// The data set's name in messages.
pub(super) const NAME: &str = "Fashion-MNIST";

/// The name of the folder in the user's cache and in Debian's package.
pub(super) const FOLDER: &str = "fashion-mnist";

const REMEDY: &str = "install Debian's package dataset-fashion-mnist, or name a folder that has the files (the example's --data, \
                      the variable DENSENET_DATA), or call FashionMnist::download()";

/// Returns the files of a split: images, then labels.
pub(super) fn known_files(split: Split) -> [KnownFile; 2] {
    match split {
        Split::Train => [
            KnownFile {
                name: "train-images-idx3-ubyte",
                bytes: 47_040_016,
                sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            },
            KnownFile {
                name: "train-labels-idx1-ubyte",
                bytes: 60_008,
                sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            },
        ],
        Split::Test => [
            KnownFile {
                name: "t10k-images-idx3-ubyte",
                bytes: 7_840_016,
                sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            },
            KnownFile {
                name: "t10k-labels-idx1-ubyte",
                bytes: 10_008,
                sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ],
    }
}
