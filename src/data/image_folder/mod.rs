//! Images in files: a folder with one folder per class, or a table of files.

mod bad_file;
mod cache;
mod config;
mod open;
mod scan;
mod table;
mod walk;

pub use bad_file::BadFile;
pub use config::{BadFilePolicy, ImageConfig};
pub use scan::ScanReport;
pub use table::ImageTable;

use super::{Batch, Color, Dataset, Phase, Pixels, SampleKey, SkippedSample, Targets, check_keys};
use crate::error::DataError;
use crate::{Error, Result};
use cache::Cache;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data set of PNG, JPEG, GIF and BMP files, in a folder with one folder per class or listed in a table. Its clones
/// share it.
///
/// ```text
/// flowers/train/daisy/1.jpg      flowers/val/daisy/5.jpg
/// flowers/train/daisy/2.png      flowers/val/rose/6.jpg
/// flowers/train/rose/3.jpg
/// ```
///
/// The classes are the names of the folders, sorted by their bytes, and the samples are sorted in the same way within
/// them, also where their folders have folders: every machine gets the same indices. Files are recognized by their
/// content, whatever their names. Names that begin with a dot, `Thumbs.db`, `desktop.ini` and `__MACOSX` are ignored;
/// links are followed to files and classes within the folder only.
///
/// Worker threads read and decode a sample when it is fetched; [`ImageConfig`] says what becomes of it. Files larger
/// than 64 MiB, or that take more than 256 MiB to decode, are refused before they are decoded.
///
/// # Examples
///
/// ```no_run
/// use densenet::data::{Dataset, ImageConfig, ImageFolder};
///
/// let config = ImageConfig::new().with_size([224, 224]);
/// let (train, validation) = ImageFolder::open_splits("flowers", &config)?;
/// println!("{} images of {:?}", train.len(), train.classes());
/// println!("{}", train.scan());      // decodes each image once, and lists the damaged ones and duplicates
/// # let _ = validation;
/// # Ok::<(), densenet::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
#[derive(Clone)]
pub struct ImageFolder {
    shared: Arc<Shared>,
}

struct Shared {
    /// The folder or the table.
    source: PathBuf,
    files: Files,
    classes: Vec<String>,
    config: ImageConfig,
    /// `[C, H, W]`.
    sample_shape: Vec<usize>,
    cache: Cache,
}

/// The files of a data set.
#[derive(Clone, Default)]
struct Files {
    paths: Vec<PathBuf>,
    /// The class of each.
    labels: Vec<u32>,
    /// Files that were left out.
    bad: Vec<BadFile>,
    hidden: usize,
}

impl ImageFolder {
    /// Returns the path of each sample's file.
    pub fn paths(&self) -> &[PathBuf] {
        &self.shared.files.paths
    }

    /// Returns the files that were left out by [`BadFilePolicy::Skip`], and links that are not followed.
    pub fn bad_files(&self) -> &[BadFile] {
        &self.shared.files.bad
    }

    /// Returns the number of hidden files and folders that were ignored.
    pub fn hidden_files(&self) -> usize {
        self.shared.files.hidden
    }

    /// Returns the configuration of the images.
    pub fn config(&self) -> &ImageConfig {
        &self.shared.config
    }

    /// Reads and decodes an image.
    fn decode(&self, path: &Path) -> Result<Pixels, BadFile> {
        let ImageConfig { color, alpha, .. } = self.shared.config;
        Pixels::decode(&bad_file::read(path)?, color, alpha).map_err(|error| bad_file::bad(path, &error))
    }

    /// Loads the image of a sample: in the size of the samples, or in its own, where the augmentation takes any.
    fn load(&self, index: usize) -> Result<Arc<Pixels>, BadFile> {
        let Shared { config, cache, sample_shape, .. } = &*self.shared;
        let size = [sample_shape[1], sample_shape[2]];
        cache.get(index, || {
            let path = &self.paths()[index];
            let pixels = self.decode(path)?;
            if config.size.is_none() && [pixels.height, pixels.width] != size {
                let (height, width) = (pixels.height, pixels.width);
                let problem = format!("it has {height}×{width} pixels, and had {}×{} before", size[0], size[1]);
                return Err(BadFile::new(path, problem));
            }
            Ok(if config.augment.takes_any_size() { pixels } else { self.fit(pixels) })
        })
    }

    /// Gives an image the size of the samples.
    fn fit(&self, pixels: Pixels) -> Pixels {
        let Shared { config, sample_shape, .. } = &*self.shared;
        config.fit.apply(pixels, [sample_shape[1], sample_shape[2]], config.interpolation)
    }

    /// Writes a sample as planes: augmented in training, and as it is in evaluation.
    fn write(&self, pixels: Arc<Pixels>, key: &SampleKey, planes: &mut [u8]) -> Result<()> {
        let augment = &self.shared.config.augment;
        if key.phase == Phase::Train && !augment.operations().is_empty() {
            augment.apply_pixels(Arc::unwrap_or_clone(pixels), key)?.write_planes(planes);
        } else if augment.takes_any_size() {
            self.fit(Arc::unwrap_or_clone(pixels)).write_planes(planes);
        } else {
            pixels.write_planes(planes);
        }
        Ok(())
    }

    /// Loads a sample; where its file is damaged, by policy, the next readable one of its class.
    fn sample(&self, key: &SampleKey) -> Result<(Arc<Pixels>, Option<SkippedSample>)> {
        let BadFile { path, problem } = match self.load(key.index) {
            Ok(pixels) => return Ok((pixels, None)),
            Err(bad) => bad,
        };
        if self.shared.config.bad_files == BadFilePolicy::Skip {
            let labels = &self.shared.files.labels;
            let others = (key.index + 1..labels.len()).chain(0..key.index);
            let mut others = others.filter(|&other| labels[other] == labels[key.index]);
            if let Some(pixels) = others.find_map(|other| self.load(other).ok()) {
                let problem = format!("the image {} cannot be used: {problem}", path.display());
                return Ok((pixels, Some(SkippedSample { index: key.index, problem })));
            }
        }
        Err(Error::Data(DataError::ImageFile { path, problem }))
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.paths().len()
    }

    fn sample_shape(&self) -> &[usize] {
        &self.shared.sample_shape
    }

    fn classes(&self) -> &[String] {
        &self.shared.classes
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        check_keys(keys, self.len())?;
        let width: usize = self.sample_shape().iter().product();
        let mut values = vec![0; width * keys.len()];
        let mut all_skipped = Vec::new();
        for (key, planes) in keys.iter().zip(values.chunks_exact_mut(width)) {
            let (pixels, skipped) = self.sample(key)?;
            self.write(pixels, key, planes)?;
            all_skipped.extend(skipped);
        }
        let labels = keys.iter().map(|key| self.shared.files.labels[key.index]).collect();
        let batch = Batch::new(self.sample_shape(), values, Targets::Classes(labels));
        Ok(batch.with_skipped(all_skipped))
    }

    fn is_fixed(&self) -> bool {
        self.config().augment.operations().is_empty()
    }

    fn configuration(&self) -> Value {
        let mut configuration = json!(self.config());
        // A run that stopped at a damaged file may be resumed without it. Files that are left out at the opening are
        // missing in the number of samples.
        configuration.as_object_mut().map(|fields| fields.remove("bad_files"));
        configuration
    }

    fn targets(&self) -> Result<Targets> {
        Ok(Targets::Classes(self.shared.files.labels.clone()))
    }
}

/// Shows where the images are, how many there are, and their classes.
impl fmt::Debug for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageFolder")
            .field("source", &self.shared.source)
            .field("len", &self.len())
            .field("sample_shape", &self.sample_shape())
            .field("classes", &self.classes())
            .finish_non_exhaustive()
    }
}

/// Returns the number of channels of a decoded image.
fn channels(color: Color) -> usize {
    match color {
        Color::Gray => 1,
        Color::Rgb => 3,
    }
}
