//! Random brightness, contrast, saturation and hue.

use super::color::{brightness, contrast, hue, saturation};
use super::transform::{Transform, check_gray_or_color, check_range};
use crate::data::random::Random;
use crate::data::{Pixels, SampleKey};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

config! {
    /// Changes brightness, contrast, saturation and hue at random, in random order. For images of 1 or 3 channels.
    ///
    /// Saturation and hue of gray images are an error; in torchvision they change nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::augment::ColorJitter;
    ///
    /// let jitter = ColorJitter::new().with_brightness(0.4).with_hue(0.1);
    /// assert_eq!((jitter.brightness, jitter.hue), ([0.6, 1.4], [-0.1, 0.1]));
    /// ```
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct ColorJitter {
        /// Smallest and largest factor of the brightness, at least 0. Default: 1.
        pub brightness: [f64; 2] => with_brightness_range,
        /// Smallest and largest factor of the contrast, at least 0. Default: 1.
        pub contrast: [f64; 2] => with_contrast_range,
        /// Smallest and largest factor of the saturation, at least 0. Default: 1.
        pub saturation: [f64; 2] => with_saturation_range,
        /// Smallest and largest turn of the hue, within −0.5 to 0.5 of the circle. Default: 0.
        pub hue: [f64; 2] => with_hue_range,
    }
}

impl Default for ColorJitter {
    fn default() -> Self {
        ColorJitter { brightness: [1.0; 2], contrast: [1.0; 2], saturation: [1.0; 2], hue: [0.0; 2] }
    }
}

/// Returns the factors that deviate from 1 by at most this.
fn around_one(deviation: f64) -> [f64; 2] {
    [(1.0 - deviation).max(0.0), 1.0 + deviation]
}

impl ColorJitter {
    /// Creates an operation that changes nothing yet.
    pub fn new() -> Self {
        ColorJitter::default()
    }

    /// Sets the largest deviation of the brightness' factor from 1, at least 0.
    #[must_use]
    pub fn with_brightness(self, deviation: f64) -> Self {
        self.with_brightness_range(around_one(deviation))
    }

    /// Sets the largest deviation of the contrast's factor from 1, at least 0.
    #[must_use]
    pub fn with_contrast(self, deviation: f64) -> Self {
        self.with_contrast_range(around_one(deviation))
    }

    /// Sets the largest deviation of the saturation's factor from 1, at least 0.
    #[must_use]
    pub fn with_saturation(self, deviation: f64) -> Self {
        self.with_saturation_range(around_one(deviation))
    }

    /// Sets the largest turn of the hue in either direction, 0 to 0.5 of the circle.
    #[must_use]
    pub fn with_hue(self, turn: f64) -> Self {
        self.with_hue_range([-turn, turn])
    }
}

impl Transform for ColorJitter {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        let (factors, expected) = ([0.0, 1000.0], "a range within 0 to 1000");
        check_range("brightness of a color jitter", self.brightness, factors, expected)?;
        check_range("contrast of a color jitter", self.contrast, factors, expected)?;
        check_range("saturation of a color jitter", self.saturation, factors, expected)?;
        check_range("hue of a color jitter", self.hue, [-0.5, 0.5], "a range within −0.5 to 0.5")?;
        check_gray_or_color("image of a color jitter", shape[0])?;
        if shape[0] == 1 && (self.saturation != [1.0; 2] || self.hue != [0.0; 2]) {
            let expected = "3 channels, which saturation and hue need";
            return Err(Error::invalid_value("image of a color jitter", "1 channel", expected));
        }
        Ok(shape)
    }

    fn run(&self, mut pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let order = random.permutation(4);
        let factors = [self.brightness, self.contrast, self.saturation, self.hue].map(|range| random.between(range));
        let neutral =
            [self.brightness == [1.0; 2], self.contrast == [1.0; 2], self.saturation == [1.0; 2], self.hue == [0.0; 2]];
        for step in order.into_iter().filter(|&step| !neutral[step]) {
            pixels = [brightness, contrast, saturation, hue][step](pixels, factors[step]);
        }
        pixels
    }
}
