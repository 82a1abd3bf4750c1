//! A data set of two IDX files: samples and labels.

use super::{IdxArray, read_idx};
use crate::data::{Batch, InMemoryDataset, Targets, Values};
use crate::error::IdxProblem;
use crate::{Error, Result};
use std::path::Path;

/// Opens MNIST or any other data set that consists of an IDX file of samples and one of labels, each plain or compressed.
///
/// Samples are u8 or f32 of the shape `[N, H, W]` (read as one channel), `[N, C, H, W]` or `[N, features]`; labels are u8
/// indices of `classes`.
///
/// # Errors
///
/// [`Error::Io`], [`Error::DamagedGzip`], [`Error::Idx`], also where the counts differ or a label is no class.
///
/// # Examples
///
/// ```no_run
/// use densenet::data::open_idx_pair;
///
/// let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// let mnist = open_idx_pair("mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz", &digits)?;
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn open_idx_pair(samples: impl AsRef<Path>, labels: impl AsRef<Path>, classes: &[&str]) -> Result<InMemoryDataset> {
    let (samples_path, labels_path) = (samples.as_ref(), labels.as_ref());
    pair_dataset((samples_path, read_idx(samples_path)?), (labels_path, read_idx(labels_path)?), classes)
}

/// The data set of two arrays and the files that they came from.
pub(crate) fn pair_dataset(
    (samples_path, samples): (&Path, IdxArray),
    (labels_path, labels): (&Path, IdxArray),
    classes: &[&str],
) -> Result<InMemoryDataset> {
    let at = |path: &Path, problem| Error::Idx { path: path.to_owned(), problem };
    let shape = samples.shape().to_vec();
    let sample_shape = match shape[..] {
        [_, height, width] if height * width > 0 => vec![1, height, width],
        [_, ref sample @ ..] if matches!(sample.len(), 1 | 3) && !sample.contains(&0) => sample.to_vec(),
        _ => return Err(at(samples_path, IdxProblem::SampleShape { shape })),
    };
    let kind = samples.kind();
    let values = match samples {
        IdxArray::U8(array) => Values::U8(array.into_raw_vec_and_offset().0),
        IdxArray::F32(array) => Values::F32(array.into_raw_vec_and_offset().0),
        _ => return Err(at(samples_path, IdxProblem::SampleType { kind })),
    };
    let labels = match labels {
        IdxArray::U8(array) if array.ndim() == 1 => array.into_raw_vec_and_offset().0,
        other => {
            let problem = IdxProblem::LabelShape { kind: other.kind(), shape: other.shape().to_vec() };
            return Err(at(labels_path, problem));
        }
    };
    if labels.len() != shape[0] {
        let (samples_path, samples) = (samples_path.to_owned(), shape[0]);
        return Err(at(labels_path, IdxProblem::CountsDiffer { samples_path, samples, labels: labels.len() }));
    }
    let targets: Vec<u32> = labels.into_iter().map(u32::from).collect();
    if let Some(position) = targets.iter().position(|&label| label as usize >= classes.len()) {
        let problem = IdxProblem::LabelOutOfRange { position, label: targets[position], classes: classes.len() };
        return Err(at(labels_path, problem));
    }
    InMemoryDataset::new(Batch { sample_shape, values, targets: Targets::Classes(targets) }, classes)
}
