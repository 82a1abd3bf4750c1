//! Reads bundles from files of unknown origin.

use super::{Bundle, check, metadata};
use crate::error::WeightsProblem;
use crate::models::DenseNet;
use crate::weights::open::open;
use crate::weights::{LoadConfig, load};
use crate::{Error, Result};
use std::path::Path;
use tch::Device;
use tch::nn::VarStore;

impl Bundle {
    /// Reads the description of a bundle, and checks it against names and shapes of the file's tensors. Reads no values
    /// and builds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Weights`] where it is damaged, of an unknown format or
    /// version, or plain weights, and where the description is not that of its tensors.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |problem| Error::Weights { path: path.to_owned(), problem };
        let file = open(path)?;
        let text = file.metadata(metadata::KEY).ok_or_else(|| failed(WeightsProblem::NoBundle))?;
        let bundle = metadata::parse(text).map_err(failed)?;
        let tensors = file.tensors().into_iter().map(|info| (info.name, info.shape)).collect::<check::Shapes>();
        // The file chose the values, so that the error names it too.
        let of_file = |error: Error| failed(WeightsProblem::BundleMetadata(error.with_causes()));
        check::number_of_layers(&bundle.config, tensors.len()).and_then(|()| bundle.check()).map_err(of_file)?;
        check::variables(&bundle.config, &tensors, path)?;
        Ok(bundle)
    }

    /// Reads a bundle, builds its network on `device`, and loads the weights. What a file describes is compared with
    /// its tensors before anything is built, so that a network is never larger than its file.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read) and of [`load`](crate::weights::load);
    /// [`ConfigError::DeviceUnavailable`](crate::error::ConfigError::DeviceUnavailable).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use densenet::{tch::Device, weights::Bundle};
    ///
    /// let (bundle, vs, model) = Bundle::open("model.safetensors", Device::Cpu)?;
    /// println!("{} classes, {} variables, {:?}", bundle.classes.len(), vs.variables().len(), model.config());
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, device: Device) -> Result<(Bundle, VarStore, DenseNet)> {
        let bundle = Bundle::read(&path)?;
        let vs = VarStore::new(device);
        let model = bundle.config.build(&vs.root())?;
        load(&vs, path, &LoadConfig::new())?;
        Ok((bundle, vs, model))
    }
}
