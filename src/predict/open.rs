//! Predictors of model bundles.

use super::{PredictConfig, Predictor, PredictorConfig};
use crate::Result;
use crate::weights::Bundle;
use std::path::Path;

impl Predictor {
    /// Opens a [model bundle](Bundle), and predicts on the [`default_device`](crate::default_device) with default
    /// limits. Images of bytes get the size of the training's images in the same way as in its evaluation, by the
    /// bundle's [`fit`](Bundle::fit), on the thread of the caller; without the feature `images`, and for images of f32,
    /// they are resized without antialiasing.
    ///
    /// # Errors
    ///
    /// Those of [`Bundle::open`] and of [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use densenet::data::{Image, Values};
    /// use densenet::predict::Predictor;
    ///
    /// let predictor = Predictor::open("model.safetensors")?;
    /// let image = Image::new([3, 64, 64], Values::U8(vec![128; 3 * 64 * 64]))?;
    /// let prediction = predictor.predict(image)?;
    /// for top in prediction.top(3) {
    ///     println!("{} {:.3}", prediction.name(top.class).unwrap_or("?"), top.probability);
    /// }
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Predictor::open_with(path, PredictorConfig::new(PredictConfig::default()))
    }

    /// Opens a [model bundle](Bundle) with the device, the precision and the limits of `config`. Class names and
    /// preprocessing are those of the bundle, and so is the shape of samples where the bundle says one.
    ///
    /// # Errors
    ///
    /// Those of [`Bundle::open`] and of [`start`](Self::start).
    pub fn open_with(path: impl AsRef<Path>, config: PredictorConfig) -> Result<Self> {
        config.predict.check()?;
        let (bundle, _, model) = Bundle::open(path, config.predict.device)?;
        let mut config = config.with_classes(bundle.classes.clone());
        config.predict.preprocess = bundle.prediction_preprocess();
        config.sample_shape = bundle.input_shape().or(config.sample_shape);
        config.fit = bundle.image_size.map(|size| (size, bundle.fit, bundle.interpolation));
        Predictor::start(model, config)
    }
}
