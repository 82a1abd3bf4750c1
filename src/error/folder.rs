//! Problems with a folder of images.

use std::path::PathBuf;

/// The problem with a folder of images.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FolderProblem {
    /// There are no folders of classes.
    #[error("it has no folders: each class needs one with its images")]
    NoClasses,
    /// The folder has the folders of a training and a validation set, and not those of classes.
    #[error(
        "it has folders of data sets, {train} and {validation}, and not of classes: open both with \
         ImageFolder::open_splits, or one of them by its path"
    )]
    HasSplits {
        /// The name of the training set's folder.
        train: String,
        /// The name of the validation set's folder.
        validation: String,
    },
    /// The folder lacks that of the training or the validation set.
    #[error("it has no folder {}", names.join(" or "))]
    NoSplit {
        /// The names that the folder may have.
        names: Vec<String>,
    },
    /// A class has no images.
    #[error("the class {class:?} has no images")]
    EmptyClass {
        /// The name of the class.
        class: String,
    },
    /// A class of the training set has no folder.
    #[error("there is no folder of the class {class:?}, which the training set has")]
    MissingClass {
        /// The name of the class.
        class: String,
    },
    /// There is a folder of a class that the training set does not have.
    #[error("there is a folder of the class {class:?}, which the training set does not have")]
    UnknownClass {
        /// The name of the class.
        class: String,
    },
    /// The name of a class is not valid UTF-8.
    #[error("the name of the class {class:?} is not valid UTF-8")]
    ClassName {
        /// The name of the class, with replacement characters.
        class: String,
    },
    /// Folders in the folder of a class are nested too deeply.
    #[error("{} is more than {limit} folders deep", folder.display())]
    TooDeep {
        /// The nested folder.
        folder: PathBuf,
        /// The most levels of folders.
        limit: usize,
    },
}
