//! CIFAR-10 and CIFAR-100 in their binary format: records of labels and an image, one after the other.

use super::in_memory::in_memory_datasets;
use super::{Batch, InMemoryDataset, Split, Targets};
use crate::error::DataError;
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// CIFAR-10 in memory: 50,000 training or 10,000 test images of shape `[3, 32, 32]`, as bytes, in ten classes.
///
/// # Examples
///
/// ```no_run
/// use densenet::data::{Cifar10, Split};
///
/// let train = Cifar10::open_in("cifar-10-batches-bin", Split::Train)?;
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// # Source
///
/// Krizhevsky: Learning multiple layers of features from tiny images (2009).
#[derive(Clone, Debug)]
pub struct Cifar10 {
    dataset: InMemoryDataset,
}

/// CIFAR-100 in memory: 50,000 training or 10,000 test images of shape `[3, 32, 32]`, as bytes, in 100 classes.
///
/// # Source
///
/// Krizhevsky: Learning multiple layers of features from tiny images (2009).
#[derive(Clone, Debug)]
pub struct Cifar100 {
    dataset: InMemoryDataset,
}

impl Cifar10 {
    /// The names of the classes in the order of their indices.
    pub const CLASSES: [&'static str; 10] =
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    /// Opens a split from a folder with the files of the binary version, `data_batch_1.bin` to `data_batch_5.bin` or
    /// `test_batch.bin`; they may lie in `cifar-10-batches-bin` there, as in the archive.
    ///
    /// # Errors
    ///
    /// [`DataError::DatasetNotFound`] where a file is missing, [`DataError::Cifar`] for a file of another size or with a
    /// label out of range, [`Error::Io`].
    pub fn open_in(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        let format = Format { name: "CIFAR-10", nested: "cifar-10-batches-bin", labels: 1, classes: &Self::CLASSES };
        let train =
            ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
        let files: &[&str] = if split == Split::Train { &train } else { &["test_batch.bin"] };
        Ok(Cifar10 { dataset: format.read(folder.as_ref(), split, files)? })
    }
}

impl Cifar100 {
    /// The names of the classes in the order of their indices.
    #[rustfmt::skip]
    pub const CLASSES: [&'static str; 100] = [
        "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple tree", "motorcycle", "mountain", "mouse", "mushroom", "oak tree", "orange",
        "orchid", "otter", "palm tree", "pear", "pickup truck", "pine tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow tree", "wolf", "woman", "worm",
    ];

    /// Opens a split from a folder with the files of the binary version, `train.bin` or `test.bin`, and reads their fine
    /// labels; they may lie in `cifar-100-binary` there, as in the archive.
    ///
    /// # Errors
    ///
    /// Those of [`Cifar10::open_in`].
    pub fn open_in(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        // The coarse label comes before the fine one.
        let format = Format { name: "CIFAR-100", nested: "cifar-100-binary", labels: 2, classes: &Self::CLASSES };
        let file = if split == Split::Train { "train.bin" } else { "test.bin" };
        Ok(Cifar100 { dataset: format.read(folder.as_ref(), split, &[file])? })
    }
}

/// What the files of one of the data sets have in common.
struct Format {
    name: &'static str,
    /// The folder in the archive.
    nested: &'static str,
    /// Bytes before the image, of which the last is the label.
    labels: usize,
    classes: &'static [&'static str],
}

/// Bytes of an image: channel by channel, row by row.
const IMAGE: usize = 3 * 32 * 32;

/// Largest file in bytes, several times the largest of the data sets.
const MAX_BYTES: u64 = 1 << 30;

impl Format {
    fn read(&self, folder: &Path, split: Split, names: &[&str]) -> Result<InMemoryDataset> {
        let folders = vec![folder.to_owned(), folder.join(self.nested)];
        let all = |folder: &PathBuf| {
            let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
            paths.iter().all(|path| path.is_file()).then_some(paths)
        };
        let Some(paths) = folders.iter().find_map(all) else {
            let dataset = format!("{} ({split}: {})", self.name, names.join(", "));
            let remedy = "unpack the archive of its binary version, and name the folder";
            return Err(Error::Data(DataError::DatasetNotFound { dataset, looked_in: folders, remedy }));
        };
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        for path in &paths {
            self.read_file(path, &mut values, &mut classes)?;
        }
        let samples = Batch::new([3, 32, 32], values, Targets::Classes(classes));
        InMemoryDataset::new(samples, self.classes)
    }

    fn read_file(&self, path: &Path, values: &mut Vec<u8>, classes: &mut Vec<u32>) -> Result<()> {
        let failed = |problem: String| Error::Data(DataError::Cifar { path: path.to_owned(), problem });
        let record = self.labels + IMAGE;
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(failed(format!("it has more than {MAX_BYTES} bytes")));
        }
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            return Err(failed(format!("it has {} bytes, which is no multiple of a record's {record}", bytes.len())));
        }
        for (number, record) in bytes.chunks_exact(record).enumerate() {
            let (labels, image) = record.split_at(self.labels);
            let label = labels[self.labels - 1];
            if usize::from(label) >= self.classes.len() {
                let count = self.classes.len();
                return Err(failed(format!("its record {number} has the label {label}, of {count} classes")));
            }
            classes.push(label.into());
            values.extend_from_slice(image);
        }
        Ok(())
    }
}

in_memory_datasets!(Cifar10, Cifar100);
