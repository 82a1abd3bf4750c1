//! Generated images, for tests, benchmarks and first steps.

use super::random::{Purpose, Random};
use super::{Batch, InMemoryDataset, Targets};
use crate::error::ConfigError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Configuration of a data set that a net learns in seconds: waves with noise, whose direction and frequency tell
    /// the class.
    ///
    /// A sample is a pure function of the configuration and its index. Classes alternate, so that all have equally many
    /// samples, up to one.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{Dataset, SyntheticConfig};
    ///
    /// let train = SyntheticConfig::new(1000).with_classes(4).build()?;
    /// let test = SyntheticConfig::new(200).with_classes(4).with_seed(1).build()?;
    /// assert_eq!(train.sample_shape(), test.sample_shape());
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct SyntheticConfig {
        /// The number of samples.
        pub len: usize,
        /// The number of classes, at least 1. Default: 10.
        pub classes: usize => with_classes,
        /// The shape of a sample, `[C, H, W]`. Default: `[1, 28, 28]`.
        pub sample_shape: [usize; 3] => with_sample_shape,
        /// The largest random deviation of a pixel from its pattern, from 0 to 255. Default: 64.
        pub noise: u8 => with_noise,
        /// Seed of the samples, but not of the pattern of a class: use one seed for training and another for testing.
        /// Default: 0.
        pub seed: u64 => with_seed,
    }
}

impl SyntheticConfig {
    /// Creates a configuration of `len` samples.
    pub fn new(len: usize) -> Self {
        SyntheticConfig { len, classes: 10, sample_shape: [1, 28, 28], noise: 64, seed: 0 }
    }

    /// Checks the configuration and builds the data set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for no classes or an empty shape, [`ConfigError::Overflow`] for a sample of more
    /// than 2²⁸ values or for more than 2³² values of all samples.
    pub fn build(self) -> Result<InMemoryDataset> {
        Error::at_least_one("number of classes", self.classes)?;
        if u32::try_from(self.classes).is_err() {
            return Err(Error::Config(ConfigError::Overflow { what: "number of classes", limit: u32::MAX as usize }));
        }
        for size in self.sample_shape {
            Error::at_least_one("size of the sample shape", size)?;
        }
        let values = self.sample_shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if values.is_none_or(|values| values > MAX_VALUES) {
            return Err(Error::Config(ConfigError::Overflow {
                what: "number of values of a sample",
                limit: MAX_VALUES,
            }));
        }
        let overflow =
            Error::Config(ConfigError::Overflow { what: "number of values of all samples", limit: MAX_TOTAL });
        let total = values.and_then(|values| values.checked_mul(self.len)).filter(|&total| total <= MAX_TOTAL);
        let mut pixels = Vec::with_capacity(total.ok_or(overflow)?);
        (0..self.len).for_each(|index| self.draw(index, &mut pixels));
        let targets = (0..self.len).map(|index| (index % self.classes) as u32).collect();
        let samples = Batch::new(self.sample_shape.to_vec(), pixels, Targets::Classes(targets));
        let names: Vec<String> = (0..self.classes).map(|class| format!("pattern {class}")).collect();
        InMemoryDataset::new(samples, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Largest number of values of a sample.
const MAX_VALUES: usize = 1 << 28;

/// The most values that all samples may have together, a byte each.
const MAX_TOTAL: usize = 1 << 32;

impl SyntheticConfig {
    /// Appends the pixels of a sample.
    fn draw(&self, index: usize, pixels: &mut Vec<u8>) {
        let [channels, height, width] = self.sample_shape;
        let class = index % self.classes;
        let (down, right) = waves(class, self.classes);
        let mut random = Random::new(Purpose::SyntheticSample, self.seed, index as u64);
        // Up to an eighth of a period to either side: samples of one class differ, but remain similar.
        let shift = (random.below(257) as f64 - 128.0) / 1024.0;
        let spread = 2 * u64::from(self.noise) + 1;
        for channel in 0..channels {
            let channel_shift = channel as f64 / (4 * channels) as f64;
            for y in 0..height {
                let row_phase = shift + channel_shift + (down * y) as f64 / height as f64;
                for x in 0..width {
                    let phase = row_phase + (right * x) as f64 / width as f64;
                    let noise = random.below(spread) as f64 - f64::from(self.noise);
                    pixels.push((127.5 + 96.0 * wave(phase) + noise).round().clamp(0.0, 255.0) as u8);
                }
            }
        }
    }
}

/// Returns the number of periods of a class's wave down and across the image; distinct for each class, never both 0.
fn waves(class: usize, classes: usize) -> (usize, usize) {
    let side = (classes + 1).isqrt() + usize::from((classes + 1).isqrt().pow(2) < classes + 1);
    ((class + 1) / side, (class + 1) % side)
}

/// Approximates a sine of period 1 by two parabolas: with additions and products only, so that every machine gives the
/// same bytes.
fn wave(phase: f64) -> f64 {
    let half = 2.0 * (phase - phase.floor());
    let (sign, t) = if half < 1.0 { (1.0, half) } else { (-1.0, half - 1.0) };
    sign * 4.0 * t * (1.0 - t)
}
