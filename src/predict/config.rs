//! Configurations of batched inference and of a predictor.

use crate::Result;
use crate::data::{Fit, Interpolation, LoaderConfig, Preprocess};
use crate::nn::{ForwardContext, Mode, Precision};
use crate::torch::{check_device, default_device};
use crate::train::TestTimeAugment;
use std::time::Duration;
use tch::Device;

config! {
    /// Configuration of batched inference.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct PredictConfig {
        /// Most samples that go through the model together, from 1 to 65,536. Default: 64.
        pub batch_size: usize => with_batch_size,
        /// Preprocessing of each batch on the device, which has to equal that of the training. Default: none.
        pub preprocess: Preprocess => with_preprocess,
        /// Device of the model's variables. Default: [`default_device`].
        pub device: Device => with_device,
        /// Precision that the model computes in. Default: f32.
        pub precision: Precision => with_precision,
        /// Views of each image over which the outputs are averaged. Default: the image itself.
        pub test_time_augment: TestTimeAugment => with_test_time_augment,
    }
}

impl Default for PredictConfig {
    fn default() -> Self {
        PredictConfig {
            batch_size: 64,
            preprocess: Preprocess::new(),
            device: default_device(),
            precision: Precision::default(),
            test_time_augment: TestTimeAugment::new(),
        }
    }
}

impl PredictConfig {
    /// Checks the batch size, and that this machine has the device, which supports the precision.
    pub(super) fn check(&self) -> Result<()> {
        check_device(self.device)?;
        self.precision.check(self.device)?;
        LoaderConfig::new(self.batch_size).build().map(drop)
    }

    /// Returns the context of a forward pass in evaluation mode.
    pub(super) fn context(&self) -> ForwardContext {
        ForwardContext::new(Mode::Eval).with_precision(self.precision)
    }
}

config! {
    /// Configuration of a [`Predictor`](super::Predictor).
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::Preprocess;
    /// use densenet::predict::{PredictConfig, PredictorConfig};
    /// use densenet::tch::Device;
    /// use std::time::Duration;
    ///
    /// let predict = PredictConfig::default()
    ///     .with_device(Device::Cpu)
    ///     .with_batch_size(32)                                      // at most 32 images together
    ///     .with_preprocess(Preprocess::new().with_size([96, 96]));  // as in training
    /// let config = PredictorConfig::new(predict)
    ///     .with_classes(["cat".to_owned(), "dog".to_owned()].into())
    ///     .with_max_wait(Duration::from_millis(5))                  // for other requests of a batch
    ///     .with_queue_capacity(1024);
    /// assert_eq!(config.predict.batch_size, 32);
    /// ```
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct PredictorConfig {
        /// Configuration of the inference. Its batch size is the largest number of requests in a batch.
        pub predict: PredictConfig,
        /// Names of the classes in the order of the model's outputs, for
        /// [`Prediction::name`](super::Prediction::name). Default: empty, for no names.
        pub classes: Vec<String> => with_classes,
        /// Shape `[C, H, W]` that every image has to have after preprocessing; another one is an error of its request
        /// alone. Default: `None`, any shape that the model accepts.
        pub sample_shape: Option<[usize; 3]>,
        /// Longest time that a request waits for others to form a batch with. Default: 1 ms.
        pub max_wait: Duration => with_max_wait,
        /// Most requests that wait in the queue, at least 1. Default: 256.
        pub queue_capacity: usize => with_queue_capacity,
        /// Most values of an image before preprocessing: channels times height times width. Default: 2²².
        pub max_image_values: usize => with_max_image_values,
        /// Most values of all images that wait in the queue, at least 1. An image counts with its values before or
        /// after preprocessing, whichever are more; one that exceeds the limit waits alone. Default: 2²⁵, which are
        /// 222 images of 3×224×224 values, and 128 MiB of f32.
        pub max_queued_values: usize => with_max_queued_values,
        /// Most values of all images of a batch, at least 1, counted in the same way; an image that exceeds the limit
        /// is a batch alone. It limits a batch's memory where images are large, as the batch size does where they are
        /// small. Default: 2²⁴, which are 111 images of 3×224×224 values, and 64 MiB of f32.
        pub max_batch_values: usize => with_max_batch_values,
        /// How an image of bytes gets the size that the images of the training had, before preprocessing; `None` where it
        /// keeps its own.
        pub(super) fit: Option<([usize; 2], Fit, Interpolation)>,
    }
}

impl PredictorConfig {
    /// Creates a configuration with this inference, and defaults for all other fields.
    pub fn new(predict: PredictConfig) -> Self {
        PredictorConfig {
            predict,
            classes: Vec::new(),
            sample_shape: None,
            max_wait: Duration::from_millis(1),
            queue_capacity: 256,
            max_image_values: 1 << 22,
            max_queued_values: 1 << 25,
            max_batch_values: 1 << 24,
            fit: None,
        }
    }

    /// Sets the shape `[C, H, W]` that every image has to have after preprocessing; another one is an error of its
    /// request alone.
    #[must_use]
    pub fn with_sample_shape(mut self, shape: [usize; 3]) -> Self {
        self.sample_shape = Some(shape);
        self
    }
}
