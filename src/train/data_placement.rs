//! Where the samples of a training set wait for their step.

use crate::data::{
    Batch, Dataset, Phase, Preprocess, SampleKey, SkippedSample, Targets, Values, check_keys, fetch, raw_tensors,
};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Where the samples of a training set wait for their step. The results are the same, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataPlacement {
    /// In the memory of the host; a step begins with a copy of its batch to the device.
    #[default]
    Host,
    /// In page-locked memory of the host, from which a GPU copies faster, without the host's waiting, as with PyTorch's
    /// `pin_memory`. The same as `Host` on a CPU. It has not been run on a GPU yet.
    Pinned,
    /// On the device, from the beginning of the run: no step waits for a copy. All samples have to fit into its memory,
    /// as bytes or f32, twice while they are copied, and have to be [fixed](Dataset::is_fixed).
    Device,
}

/// The source of the tensors of a training step.
pub(super) enum Samples {
    /// Batches that a loader fetches.
    Fetched { pinned: bool },
    /// Samples on the device, of which a loader fetches the indices.
    Resident(Resident),
}

/// All samples of a data set on the device, and their indices as a data set.
pub(super) struct Resident {
    values: Tensor,
    targets: Tensor,
    indices: Indices,
    /// Samples that could not be read, and whose places others took.
    skipped: Vec<SkippedSample>,
}

impl Samples {
    /// Prepares a training set, which is copied to the device where the configuration says so.
    ///
    /// # Errors
    ///
    /// Those of the data set; [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for samples that
    /// are not fixed.
    pub fn of(placement: DataPlacement, train: &dyn Dataset, seed: u64, device: Device) -> Result<Self> {
        match placement {
            DataPlacement::Host => Ok(Samples::Fetched { pinned: false }),
            DataPlacement::Pinned => Ok(Samples::Fetched { pinned: true }),
            DataPlacement::Device if train.is_fixed() && train.len() <= MAX_SAMPLES => {
                Resident::load(train, seed, device).map(Samples::Resident)
            }
            DataPlacement::Device => {
                let value = format!("Device for {} samples that may change from epoch to epoch", train.len());
                let expected =
                    "Host or Pinned, but for fixed samples (Dataset::is_fixed), of which there are at most 2^24";
                Err(Error::invalid_value("data placement", value, expected))
            }
        }
    }

    /// Returns the data set that the loader reads.
    pub fn dataset<'a>(&'a self, train: &'a dyn Dataset) -> &'a dyn Dataset {
        match self {
            Samples::Fetched { .. } => train,
            Samples::Resident(resident) => &resident.indices,
        }
    }

    /// Returns the samples of a batch of [`dataset`](Self::dataset) that could not be read.
    pub fn skipped(&self, batch: &Batch) -> Vec<SkippedSample> {
        match (self, &batch.values) {
            (Samples::Resident(Resident { skipped, .. }), Values::F32(indices)) if !skipped.is_empty() => {
                let is_in_batch = |skipped: &&SkippedSample| indices.contains(&(skipped.index as f32));
                skipped.iter().filter(is_in_batch).cloned().collect()
            }
            _ => batch.skipped.clone(),
        }
    }

    /// Returns inputs and targets of a batch of [`dataset`](Self::dataset) on the device.
    pub fn tensors(&self, batch: &Batch, preprocess: &Preprocess, device: Device) -> Result<(Tensor, Tensor)> {
        let (values, targets) = match self {
            Samples::Fetched { pinned } => raw_tensors(batch, device, *pinned)?,
            Samples::Resident(resident) => resident.select(batch, device)?,
        };
        Ok((preprocess.apply(values)?, targets))
    }
}

impl Resident {
    /// Copies all samples to the device, some at a time.
    fn load(train: &dyn Dataset, seed: u64, device: Device) -> Result<Self> {
        let (mut parts, mut skipped) = (Vec::new(), Vec::new());
        let key = |index| SampleKey { index, epoch: 0, seed, phase: Phase::Train };
        let indices: Vec<usize> = (0..train.len()).collect();
        for some in indices.chunks(SAMPLES_TOGETHER) {
            let keys: Vec<SampleKey> = some.iter().map(|&index| key(index)).collect();
            let batch = fetch(train, &keys)?;
            parts.push(raw_tensors(&batch, device, false)?);
            skipped.extend(batch.skipped);
        }
        let (values, targets): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let joined = |parts: Vec<Tensor>| Tensor::f_cat(&parts, 0).map_err(Error::libtorch("data set on the device"));
        let (values, targets, indices) = (joined(values)?, joined(targets)?, Indices { len: train.len() });
        Ok(Resident { values, targets, indices, skipped })
    }

    /// Selects the samples whose indices are the values of a batch.
    fn select(&self, batch: &Batch, device: Device) -> Result<(Tensor, Tensor)> {
        let (indices, _) = raw_tensors(batch, device, false)?;
        let indices = indices.flatten(0, -1).to_kind(Kind::Int64);
        let select = |all: &Tensor| all.f_index_select(0, &indices).map_err(Error::libtorch("selection of samples"));
        Ok((select(&self.values)?, select(&self.targets)?))
    }
}

/// Number of samples that are fetched together.
const SAMPLES_TOGETHER: usize = 1024;

/// The largest number of samples whose indices f32 tells apart.
const MAX_SAMPLES: usize = 1 << 24;

/// A data set whose samples are their own indices.
struct Indices {
    len: usize,
}

impl Dataset for Indices {
    fn len(&self) -> usize {
        self.len
    }

    fn sample_shape(&self) -> &[usize] {
        &[1]
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn fetch(&self, keys: &[SampleKey]) -> Result<Batch> {
        check_keys(keys, self.len)?;
        let indices: Vec<f32> = keys.iter().map(|key| key.index as f32).collect();
        let targets = Targets::Values { data: vec![0.0; keys.len()], width: 1 };
        Ok(Batch::new([1], indices, targets))
    }
}
