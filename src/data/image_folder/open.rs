//! Opening of a folder of images: its classes and files, checked as far as their beginnings tell.

use super::bad_file::{BadFile, check_beginning, size};
use super::cache::Cache;
use super::walk::{Found, Root};
use super::{BadFilePolicy, Files, ImageConfig, ImageFolder, Shared, channels};
use crate::data::Dataset;
use crate::error::{DataError, FolderProblem};
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The usual names of the folder of a training set.
const TRAIN: [&str; 2] = ["train", "training"];
/// The usual names of the folder of a validation set.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

impl ImageFolder {
    /// Opens a folder with one folder per class, of color images that have the same size.
    ///
    /// # Errors
    ///
    /// Those of [`open_with`](Self::open_with).
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        ImageFolder::open_with(root, &ImageConfig::new())
    }

    /// Opens a folder with one folder per class. The beginning of every file is read.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageFolder`] where there are no classes, or a class has no images; [`DataError::BadFiles`] for
    /// files that are neither PNG nor JPEG, GIF or BMP, unless the configuration skips them; [`DataError::MixedSizes`]
    /// where no size is configured and the images differ in theirs; [`Error::Config`] for an invalid configuration;
    /// [`Error::Io`].
    pub fn open_with(root: impl AsRef<Path>, config: &ImageConfig) -> Result<Self> {
        let root = root.as_ref();
        config.check()?;
        let folder = Root::open(root)?;
        let classes = folder.classes()?;
        let find = |names: &[&str]| classes.iter().find(|class| names.contains(&class.to_lowercase().as_str()));
        if let (Some(train), Some(validation)) = (find(&TRAIN), find(&VALIDATION)) {
            let (train, validation) = (train.clone(), validation.clone());
            return Err(folder.problem(FolderProblem::HasSplits { train, validation }));
        }
        let files = files(&folder, &classes, config)?;
        let labels: HashSet<u32> = files.labels.iter().copied().collect();
        if let Some(empty) = (0..classes.len()).find(|&class| !labels.contains(&(class as u32))) {
            return Err(folder.problem(FolderProblem::EmptyClass { class: classes[empty].clone() }));
        }
        ImageFolder::new(root, files, classes, config)
    }

    /// Opens a folder with the classes of a training set, such as a validation or test set: the folders have to be the
    /// same. The folder of a class may be empty.
    ///
    /// # Errors
    ///
    /// Those of [`open_with`](Self::open_with), and [`DataError::ImageFolder`] where the folder of a class is missing, or
    /// there is one of another class.
    pub fn open_with_classes(root: impl AsRef<Path>, classes: &[String], config: &ImageConfig) -> Result<Self> {
        let root = root.as_ref();
        config.check()?;
        let folder = Root::open(root)?;
        let found = folder.classes()?;
        if let Some(class) = classes.iter().find(|class| !found.contains(class)).cloned() {
            return Err(folder.problem(FolderProblem::MissingClass { class }));
        }
        if let Some(class) = found.iter().find(|class| !classes.contains(class)).cloned() {
            return Err(folder.problem(FolderProblem::UnknownClass { class }));
        }
        let files = files(&folder, classes, config)?;
        ImageFolder::new(root, files, classes.to_vec(), config)
    }

    /// Opens the training set in the folder `train` of a folder, and the validation set in its folder `val`, `valid` or
    /// `validation`, with the classes of the training set.
    ///
    /// # Errors
    ///
    /// Those of [`open_with`](Self::open_with) and [`open_with_classes`](Self::open_with_classes);
    /// [`DataError::ImageFolder`] where one of the folders is missing: open the only one with `open_with`, and split it
    /// with [`split_validation`](crate::data::split_validation).
    pub fn open_splits(root: impl AsRef<Path>, config: &ImageConfig) -> Result<(Self, Self)> {
        let root = root.as_ref();
        let folder = Root::open(root)?;
        let path = |names: &[&str]| {
            let paths = names.iter().map(|name| root.join(name));
            paths.into_iter().find(|path| path.is_dir()).ok_or_else(|| {
                let names = names.iter().map(|&name| name.to_owned()).collect();
                folder.problem(FolderProblem::NoSplit { names })
            })
        };
        let (train, validation) = (path(&TRAIN)?, path(&VALIDATION)?);
        let train = ImageFolder::open_with(train, config)?;
        let validation = ImageFolder::open_with_classes(validation, train.classes(), config)?;
        Ok((train, validation))
    }

    /// Creates the data set of files that were found in a folder or a table.
    pub(super) fn new(source: &Path, files: Files, classes: Vec<String>, config: &ImageConfig) -> Result<Self> {
        let Some(first) = files.paths.first() else { return Err(Error::Data(DataError::EmptyDataset)) };
        let [height, width] = match config.size {
            Some(size) => size,
            None => common_size(first, &files.paths)?,
        };
        let sample_shape = [channels(config.color), height, width];
        let augmented = config.augment.output_shape(sample_shape)?;
        if augmented != sample_shape {
            let value = format!("{augmented:?} for samples of shape {sample_shape:?}");
            return Err(Error::invalid_value("shape of augmented samples", value, "the shape of the samples"));
        }
        let (source, config, cache) = (source.to_owned(), config.clone(), Cache::new(config.cache_bytes));
        let sample_shape = sample_shape.to_vec();
        Ok(ImageFolder { shared: Arc::new(Shared { source, files, classes, config, sample_shape, cache }) })
    }
}

/// Returns the files of all classes.
fn files(root: &Root, classes: &[String], config: &ImageConfig) -> Result<Files> {
    let mut files = Files::default();
    for (class, name) in (0..).zip(classes) {
        let mut found = Found::default();
        root.add_files(name, &mut found)?;
        files.bad.extend(found.bad);
        files.hidden += found.hidden;
        found.files.into_iter().for_each(|path| files.add(path, class));
    }
    files.bad.sort_by(|a, b| a.path.cmp(&b.path));
    files.check(config.bad_files)
}

impl Files {
    /// Adds a file of a class, if its beginning is that of an image.
    pub(super) fn add(&mut self, path: PathBuf, class: u32) {
        match check_beginning(&path) {
            Ok(()) => {
                self.paths.push(path);
                self.labels.push(class);
            }
            Err(bad) => self.bad.push(bad),
        }
    }

    /// Returns an error where there are bad files, unless they are skipped.
    pub(super) fn check(self, policy: BadFilePolicy) -> Result<Self> {
        match (self.bad.first(), policy) {
            (Some(BadFile { path, problem }), BadFilePolicy::Error) => {
                let (count, path, problem) = (self.bad.len(), path.clone(), problem.clone());
                Err(Error::Data(DataError::BadFiles { count, path, problem }))
            }
            _ => Ok(self),
        }
    }
}

/// Returns the height and width that all images have. Those that cannot be read have none.
fn common_size(first: &Path, paths: &[PathBuf]) -> Result<[usize; 2]> {
    let mut common: Option<(&Path, [usize; 2])> = None;
    let mut bad = None;
    for path in paths {
        match (size(path), common) {
            (Ok(size), None) => common = Some((path, size)),
            (Ok(other_size), Some((path_of_first, size))) if size != other_size => {
                let (path, other) = (path_of_first.to_owned(), path.clone());
                return Err(Error::Data(DataError::MixedSizes { path, size, other, other_size }));
            }
            (Ok(_), Some(_)) => {}
            (Err(error), _) => bad = bad.or(Some(error)),
        }
    }
    common.map(|(_, size)| size).ok_or_else(|| {
        let BadFile { path, problem } = bad.unwrap_or_else(|| BadFile::new(first, "it has no size"));
        Error::Data(DataError::ImageFile { path, problem })
    })
}
