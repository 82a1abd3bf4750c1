//! Model bundles: weights, and all that a prediction needs beside them, in one file.

mod check;
mod json;
mod metadata;
mod open;

#[cfg(feature = "images")]
use crate::Error;
use crate::Result;
#[cfg(feature = "images")]
use crate::data::Color;
use crate::data::{Fit, Interpolation, Preprocess};
use crate::models::DenseNetConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;

/// A model bundle: the description of a network that is saved together with its weights, so that one file is enough for
/// a prediction.
///
/// The file is a safetensors file as [`save_safetensors`](super::save_safetensors) writes it, and every reader of such
/// files reads its weights: [`load`](super::load), [`inspect`](super::inspect), and `load_state_dict` of torchvision in
/// strict mode. The description is JSON under the key `densenet` of the file's metadata.
///
/// # Examples
///
/// ```
/// use densenet::data::{Image, Values};
/// use densenet::predict::Predictor;
/// use densenet::weights::Bundle;
/// use densenet::{DenseNetConfig, Preprocess, tch::Device, tch::nn::VarStore};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// let config = DenseNetConfig::new(2).with_input_channels(1).with_growth_rate(8).with_layers_per_block([2, 2]);
/// let vs = VarStore::new(Device::Cpu);
/// config.build(&vs.root())?;                                          // and train
/// Bundle::new(config)
///     .with_classes(["cat", "dog"])
///     .with_preprocess(Preprocess::new().with_size([64, 64]).with_normalize([0.5], [0.25]))
///     .save(&vs, &path)?;
///
/// let predictor = Predictor::open(&path)?;
/// let prediction = predictor.predict(Image::new([1, 30, 20], Values::U8(vec![9; 600]))?)?;
/// let class = prediction.top(1)[0].class;
/// assert_eq!(prediction.name(class), Some(["cat", "dog"][class]));
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Bundle {
    /// Configuration of the network.
    pub config: DenseNetConfig,
    /// Names of the classes in the order of the network's outputs. Default: empty, for no names.
    pub classes: Vec<String>,
    /// Preprocessing of the training. Default: none.
    pub preprocess: Preprocess,
    /// Height and width in pixels of the training images before preprocessing, from 1 to 16,384, to which images are
    /// resized for a prediction where the preprocessing does not resize. Default: `None`, images keep their size.
    pub image_size: Option<[usize; 2]>,
    /// How an image of another size gets this size. Default: [`Fit::Crop`].
    #[serde(default)]
    pub fit: Fit,
    /// How pixels are computed where an image is resized to this size. Default: bilinear.
    #[serde(default)]
    pub interpolation: Interpolation,
}

impl Bundle {
    /// Describes a network without class names and preprocessing.
    pub fn new(config: DenseNetConfig) -> Self {
        Bundle {
            config,
            classes: Vec::new(),
            preprocess: Preprocess::new(),
            image_size: None,
            fit: Fit::default(),
            interpolation: Interpolation::default(),
        }
    }

    /// Sets the names of the classes in the order of the network's outputs: as many as there are outputs, of at most
    /// 1024 bytes each.
    #[must_use]
    pub fn with_classes(mut self, classes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.classes = classes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the preprocessing, which has to equal that of the training. Default: none.
    #[must_use]
    pub fn with_preprocess(mut self, preprocess: Preprocess) -> Self {
        self.preprocess = preprocess;
        self
    }

    /// Sets the height and width in pixels of the training images before preprocessing. Default: images keep their
    /// size, unless the preprocessing resizes them.
    #[must_use]
    pub fn with_image_size(mut self, size: [usize; 2]) -> Self {
        self.image_size = Some(size);
        self
    }

    /// Sets how an image of another size gets the [`image_size`](Self::image_size). Default: [`Fit::Crop`].
    #[must_use]
    pub fn with_fit(mut self, fit: Fit) -> Self {
        self.fit = fit;
        self
    }

    /// Sets how pixels are computed where an image is resized to the [`image_size`](Self::image_size). Default: bilinear.
    #[must_use]
    pub fn with_interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Returns the shape `[C, H, W]` of the network's inputs after preprocessing; `None` where images keep their size.
    pub fn input_shape(&self) -> Option<[usize; 3]> {
        let [height, width] = self.preprocess.resize.or(self.image_size)?;
        Some([self.config.input_channels, height, width])
    }

    /// Returns the channels in which images are decoded for the network.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a network of other than 1 or 3 channels.
    #[cfg(feature = "images")]
    #[cfg_attr(docsrs, doc(cfg(feature = "images")))]
    pub fn color(&self) -> Result<Color> {
        match self.config.input_channels {
            1 => Ok(Color::Gray),
            3 => Ok(Color::Rgb),
            channels => Err(Error::invalid_value("number of input channels", channels, "1 or 3, as images have")),
        }
    }

    /// Returns the preprocessing of images of any size: that of the training, which resizes to
    /// [`image_size`](Self::image_size) where it did not resize.
    pub fn prediction_preprocess(&self) -> Preprocess {
        let preprocess = self.preprocess.clone();
        match (preprocess.resize, self.image_size) {
            (None, Some(size)) => preprocess.with_size(size),
            _ => preprocess,
        }
    }

    /// Returns key and value of the entry that makes safetensors metadata those of a bundle, for
    /// [`SaveWeights::with_metadata`](crate::train::SaveWeights::with_metadata). Equal bundles give equal text.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a configuration that cannot be built, for class names that are not
    /// as many as the outputs, and for sizes that the network or the preprocessing does not accept.
    pub fn metadata(&self) -> Result<(String, String)> {
        self.check()?;
        Ok((metadata::KEY.to_owned(), metadata::text(self)?))
    }

    /// Writes all variables, parameters and running statistics, and this description to a safetensors file. It is
    /// replaced atomically, and equal variables and descriptions give equal bytes.
    ///
    /// # Errors
    ///
    /// Those of [`metadata`](Self::metadata) and of [`save_safetensors`](super::save_safetensors);
    /// [`Error::Weights`](crate::Error::Weights) where the variables are not those of the configuration.
    pub fn save(&self, vs: &VarStore, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let entry = self.metadata()?;
        check::variables(&self.config, &check::shapes(vs), path)?;
        super::save_with_metadata(vs, path, BTreeMap::from([entry]))
    }
}
