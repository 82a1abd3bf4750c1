//! Finds the classes of a folder, and their files.

use super::bad_file::BadFile;
use crate::error::{DataError, FolderProblem};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

/// A folder with one folder for each class.
pub(super) struct Root {
    /// The path as it was given.
    path: PathBuf,
    /// The path without links, to notice links that lead out of the folder.
    canonical: PathBuf,
}

/// Files, and what lies between them.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Vec<PathBuf>,
    /// Links that are not followed, and other things that are no files.
    pub bad: Vec<BadFile>,
    /// Number of hidden files and folders, and of those that systems leave in folders.
    pub hidden: usize,
}

/// Most folders below each other in the folder of a class.
const MAX_DEPTH: usize = 32;

impl Root {
    pub fn open(path: &Path) -> Result<Self> {
        let canonical = fs::canonicalize(path).map_err(Error::io("open the folder", path))?;
        Ok(Root { path: path.to_owned(), canonical })
    }

    /// Returns the names of the classes, sorted by their bytes: the folders in this folder.
    pub fn classes(&self) -> Result<Vec<String>> {
        let mut classes = Vec::new();
        for entry in entries(&self.path)? {
            // A link may be a class, where it stays within the folder.
            if is_hidden(&entry.file_name()) || !self.leads_to_folder(&entry) {
                continue;
            }
            let name = entry.file_name().into_string().map_err(|name| {
                self.problem(FolderProblem::ClassName { class: name.to_string_lossy().into_owned() })
            })?;
            classes.push(name);
        }
        match classes.is_empty() {
            true => Err(self.problem(FolderProblem::NoClasses)),
            false => Ok(classes),
        }
    }

    fn leads_to_folder(&self, entry: &DirEntry) -> bool {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => self.target(&entry.path()).is_some_and(|target| target.is_dir()),
            Ok(kind) => kind.is_dir(),
            Err(_) => false,
        }
    }

    /// Returns what a link leads to, where it stays within the folder.
    fn target(&self, link: &Path) -> Option<PathBuf> {
        fs::canonicalize(link).ok().filter(|target| target.starts_with(&self.canonical))
    }

    /// Adds the files of a class, also those in folders in it, sorted by the bytes of their paths.
    pub fn add_files(&self, class: &str, found: &mut Found) -> Result<()> {
        self.add_folder(&self.path.join(class), 0, found)
    }

    fn add_folder(&self, folder: &Path, depth: usize, found: &mut Found) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.problem(FolderProblem::TooDeep { folder: folder.to_owned(), limit: MAX_DEPTH }));
        }
        for entry in entries(folder)? {
            let path = entry.path();
            if is_hidden(&entry.file_name()) {
                found.hidden += 1;
                continue;
            }
            let kind = entry.file_type().map_err(Error::io("read", &path))?;
            let problem = if kind.is_dir() {
                self.add_folder(&path, depth + 1, found)?;
                continue;
            } else if kind.is_symlink() {
                match self.target(&path) {
                    Some(target) if target.is_file() => None,
                    Some(_) => Some("it is a link to something else than a file"),
                    None => Some("it is a link that is broken or leads out of the folder"),
                }
            } else if kind.is_file() {
                None
            } else {
                Some("it is no regular file")
            };
            match problem {
                None => found.files.push(path),
                Some(problem) => found.bad.push(BadFile { path, problem: problem.to_owned() }),
            }
        }
        Ok(())
    }

    pub fn problem(&self, problem: FolderProblem) -> Error {
        Error::Data(DataError::ImageFolder { path: self.path.clone(), problem })
    }
}

/// Returns what is in a folder, sorted by the bytes of its names, whatever the order of the file system.
fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let read = || fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>();
    let mut entries = read().map_err(Error::io("list the folder", folder))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Whether a name is that of something hidden, or that systems leave in folders.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || ["Thumbs.db", "desktop.ini", "__MACOSX"].iter().any(|other| name == *other)
}
