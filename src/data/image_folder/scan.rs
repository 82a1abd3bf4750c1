//! A scan of all images of a folder, which finds damaged files and duplicates before a run does.

use super::{BadFile, Files, ImageConfig, ImageFolder, bad_file};
use crate::data::{Dataset, Pixels};
use crate::error::DataError;
use crate::error::FolderProblem;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What a [scan](ImageFolder::scan) of a folder of images found.
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanReport {
    /// Number of files that are images.
    pub images: usize,
    /// Files that cannot be used, also those that were left out at the opening.
    pub bad: Vec<BadFile>,
    /// Files with the same bytes, in groups of two or more, within and across classes.
    pub duplicates: Vec<Vec<PathBuf>>,
    /// Those of the groups whose files have different classes: at least one label is wrong.
    pub conflicts: Vec<Vec<PathBuf>>,
    /// Images whose extension is that of another format, such as a PNG with the name `1.jpg`. They are used all the same.
    pub extensions: Vec<PathBuf>,
}

impl fmt::Display for ScanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanReport { images, bad, duplicates, conflicts, extensions } = self;
        let (bad_count, duplicate_count, conflict_count) = (bad.len(), duplicates.len(), conflicts.len());
        write!(f, "{images} images, {bad_count} files that cannot be used, {duplicate_count} groups of equal files ")?;
        write!(f, "({conflict_count} of them in several classes), {} with another extension", extensions.len())?;
        for BadFile { path, problem } in bad {
            write!(f, "\ncannot be used: {}: {problem}", path.display())?;
        }
        for group in duplicates {
            let kind = if conflicts.contains(group) { "equal, in several classes" } else { "equal" };
            let paths: Vec<String> = group.iter().map(|path| path.display().to_string()).collect();
            write!(f, "\n{kind}: {}", paths.join(", "))?;
        }
        for path in extensions {
            write!(f, "\nanother extension: {}", path.display())?;
        }
        Ok(())
    }
}

/// What a scan finds in one file.
struct Scanned {
    digest: [u8; 32],
    has_other_extension: bool,
}

impl ImageFolder {
    /// Reads and decodes every image once, on all cores, and reports files that cannot be used, duplicates, and
    /// extensions of another format. It changes nothing; [`without`](Self::without) leaves the reported files out.
    pub fn scan(&self) -> ScanReport {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(BTreeMap::new());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = self.paths().get(index) else { break };
                let scanned = self.scan_file(path);
                results.lock().unwrap_or_else(PoisonError::into_inner).insert(index, scanned);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);

        let mut report = ScanReport { bad: self.bad_files().to_vec(), ..ScanReport::default() };
        let mut by_digest = BTreeMap::<[u8; 32], Vec<usize>>::new();
        for (index, result) in results {
            match result {
                Ok(Scanned { digest, has_other_extension }) => {
                    report.images += 1;
                    by_digest.entry(digest).or_default().push(index);
                    report.extensions.extend(has_other_extension.then(|| self.paths()[index].clone()));
                }
                Err(bad) => report.bad.push(bad),
            }
        }
        let mut groups: Vec<Vec<usize>> = by_digest.into_values().filter(|group| group.len() > 1).collect();
        groups.sort();
        for group in groups {
            let paths: Vec<PathBuf> = group.iter().map(|&index| self.paths()[index].clone()).collect();
            let labels: HashSet<u32> = group.iter().map(|&index| self.shared.files.labels[index]).collect();
            report.conflicts.extend((labels.len() > 1).then(|| paths.clone()));
            report.duplicates.push(paths);
        }
        report
    }

    fn scan_file(&self, path: &Path) -> Result<Scanned, BadFile> {
        let bytes = bad_file::read(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let has_other_extension = !Pixels::has_extension(&bytes, extension);
        let ImageConfig { color, alpha, .. } = *self.config();
        Pixels::decode(&bytes, color, alpha).map_err(|error| bad_file::bad(path, &error))?;
        Ok(Scanned { digest: Sha256::digest(&bytes).into(), has_other_extension })
    }

    /// Returns the data set without the files that a scan found to be bad. Equal files stay.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageFolder`] where a class would have no images any more.
    pub fn without(&self, report: &ScanReport) -> Result<ImageFolder> {
        let bad: HashSet<&PathBuf> = report.bad.iter().map(|bad| &bad.path).collect();
        let Files { paths, labels, hidden, .. } = &self.shared.files;
        let kept = paths.iter().zip(labels).filter(|(path, _)| !bad.contains(path));
        let (paths, labels): (Vec<PathBuf>, Vec<u32>) = kept.map(|(path, &label)| (path.clone(), label)).unzip();
        let left: HashSet<u32> = labels.iter().copied().collect();
        if let Some(&empty) = self.shared.files.labels.iter().find(|label| !left.contains(label)) {
            let (path, class) = (self.shared.source.clone(), self.classes()[empty as usize].clone());
            return Err(Error::Data(DataError::ImageFolder { path, problem: FolderProblem::EmptyClass { class } }));
        }
        let files = Files { paths, labels, bad: report.bad.clone(), hidden: *hidden };
        ImageFolder::new(&self.shared.source, files, self.classes().to_vec(), self.config())
    }
}
