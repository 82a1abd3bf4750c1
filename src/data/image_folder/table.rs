//! Tables that list image files and their labels.

use super::{Files, ImageConfig, ImageFolder};
use crate::error::DataError;
use crate::{Error, Result};
use csv::{Reader, ReaderBuilder, StringRecord};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

config! {
    /// A CSV file that lists image files and their labels, for images that are not sorted into folders.
    ///
    /// Its first line has the names of the columns, and each further one an image, in the order of the samples:
    ///
    /// ```text
    /// path,label,breed
    /// photos/1.jpg,cat,siamese
    /// photos/2.jpg,dog,beagle
    /// ```
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use densenet::data::{ImageConfig, ImageTable};
    ///
    /// let table = ImageTable::new("pets.csv").with_label_column("breed".to_owned());
    /// let pets = table.open(&ImageConfig::new().with_size([224, 224]))?;
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "images")))]
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ImageTable {
        /// Path of the CSV file, which has at most 256 MiB.
        pub path: PathBuf,
        /// Folder that the paths in the table are relative to. Default: the folder of the table.
        pub root: PathBuf => with_root,
        /// Name of the column with the paths. Default: `path`.
        pub path_column: String => with_path_column,
        /// Name of the column with the labels. Default: `label`.
        pub label_column: String => with_label_column,
        /// The classes in the order of their indices, such as those of the training set for a validation set. Default:
        /// empty, for the labels in the table, sorted by their bytes.
        pub classes: Vec<String> => with_classes,
    }
}

/// Largest table in bytes.
const MAX_BYTES: u64 = 256 << 20;

impl ImageTable {
    /// Names a CSV file with the columns `path` and `label`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        ImageTable {
            root: path.parent().unwrap_or(Path::new("")).to_owned(),
            path,
            path_column: "path".to_owned(),
            label_column: "label".to_owned(),
            classes: Vec::new(),
        }
    }

    /// Opens the images of the table. The beginning of every file is read.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageTable`] for a table without these columns or of another form, and for a label that is not among
    /// the classes; those of [`ImageFolder::open_with`].
    pub fn open(&self, config: &ImageConfig) -> Result<ImageFolder> {
        config.check()?;
        let rows = self.rows()?;
        let mut classes = self.classes.clone();
        if classes.is_empty() {
            classes.extend(rows.iter().map(|row| row.label.clone()));
            classes.sort();
            classes.dedup();
        }
        let numbers: HashMap<&String, u32> = classes.iter().zip(0..).collect();
        let mut files = Files::default();
        for Row { path, label, line } in rows {
            let Some(&class) = numbers.get(&label) else {
                let problem = format!("the label {label:?} is not among the classes {classes:?}");
                return Err(self.problem(Some(line), problem));
            };
            files.add(self.root.join(path), class);
        }
        ImageFolder::new(&self.path, files.check(config.bad_files)?, classes, config)
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let length = file.metadata().map_err(Error::io("read", &self.path))?.len();
        if length > MAX_BYTES {
            return Err(self.problem(None, format!("it has {length} bytes, and at most {MAX_BYTES} are read")));
        }
        let failed = |error: csv::Error| {
            let line = error.position().map(csv::Position::line);
            self.problem(line, error.to_string())
        };
        let mut reader: Reader<_> = ReaderBuilder::new().from_reader(file.take(MAX_BYTES));
        let names = reader.headers().map_err(failed)?.clone();
        let column = |name: &str| {
            let has =
                |names: &StringRecord| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let position = names.iter().position(|other| other.trim() == name);
            position.ok_or_else(|| self.problem(Some(1), format!("it has no column {name:?}, but {}", has(&names))))
        };
        let (path, label) = (column(&self.path_column)?, column(&self.label_column)?);
        let mut rows = Vec::new();
        for record in reader.into_records() {
            let record = record.map_err(failed)?;
            let line = record.position().map_or(0, csv::Position::line);
            let value = |column: usize| record.get(column).unwrap_or_default().trim().to_owned();
            let row = Row { path: value(path), label: value(label), line };
            if row.path.is_empty() || row.label.is_empty() {
                return Err(self.problem(Some(line), "the path or the label is empty".to_owned()));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn problem(&self, line: Option<u64>, problem: String) -> Error {
        Error::Data(DataError::ImageTable { path: self.path.clone(), line, problem })
    }
}

struct Row {
    path: String,
    label: String,
    line: u64,
}
