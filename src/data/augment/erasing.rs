//! Random erasing and cutout: rectangles of one color.

use super::transform::{Transform, check_fill, check_probability, check_range, check_sides, fill_of};
use crate::Result;
use crate::data::random::Random;
use crate::data::{Pixels, Rectangle, SampleKey};
use serde::{Deserialize, Serialize};

config! {
    /// Fills a rectangle of random area and aspect ratio with one color, with a probability.
    ///
    /// The color is one of bytes, before normalization; torchvision's operation usually runs after it, where 0 is the
    /// mean color. Random values are not supported.
    ///
    /// # Source
    ///
    /// Zhong et al.: Random erasing data augmentation (2017), with the defaults of torchvision.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomErasing {
        /// Probability of a rectangle, from 0 to 1. Default: 0.5.
        pub p: f64 => with_p,
        /// Smallest and largest area, as a share of the image's, within 0 to 1. Default: 0.02 to 0.33.
        pub scale: [f64; 2] => with_scale,
        /// Smallest and largest aspect ratio, height by width, within 0.01 to 100. Default: 0.3 to 3.3.
        pub ratio: [f64; 2] => with_ratio,
        /// Color of the rectangle: one byte, or one per channel. Default: 0.
        pub value: Vec<u8>,
    }
}

impl Default for RandomErasing {
    fn default() -> Self {
        RandomErasing { p: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: vec![0] }
    }
}

impl RandomErasing {
    /// Creates an erasing with the defaults of all fields.
    pub fn new() -> Self {
        RandomErasing::default()
    }

    /// Sets the color of the rectangle: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_value(self, value: impl Into<Vec<u8>>) -> Self {
        RandomErasing { value: value.into(), ..self }
    }

    /// Draws the rectangle; `None` where none of ten tries is smaller than the image.
    fn rectangle(&self, width: usize, height: usize, random: &mut Random) -> Option<Rectangle> {
        let log_ratio = self.ratio.map(f64::ln);
        (0..10).find_map(|_| {
            let area = (width * height) as f64 * random.between(self.scale);
            let ratio = random.between(log_ratio).exp();
            let [part_height, part_width] =
                [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even() as usize);
            (part_height < height && part_width < width).then(|| {
                let top = random.below((height - part_height) as u64 + 1) as usize;
                let left = random.below((width - part_width) as u64 + 1) as usize;
                Rectangle { left, top, width: part_width, height: part_height }
            })
        })
    }
}

impl Transform for RandomErasing {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_probability("probability of an erasing", self.p)?;
        check_range("scale of an erasing", self.scale, [0.0, 1.0], "a range within 0 to 1")?;
        check_range("ratio of an erasing", self.ratio, [0.01, 100.0], "a range within 0.01 to 100")?;
        check_fill("value of an erasing", &self.value, shape[0])?;
        Ok(shape)
    }

    fn run(&self, mut pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        if random.happens(self.p)
            && let Some(rectangle) = self.rectangle(pixels.width, pixels.height, &mut random)
        {
            erase(&mut pixels, rectangle, &self.value);
        }
        pixels
    }
}

config! {
    /// Fills a square with one color, whose center is anywhere in the image, so that a part of it may lie outside.
    ///
    /// # Source
    ///
    /// DeVries, Taylor: Improved regularization of convolutional neural networks with cutout (2017): squares of 16
    /// pixels for CIFAR-10, of 8 for CIFAR-100 and of 20 for SVHN. torchvision has no such operation.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct Cutout {
        /// Side of the square in pixels, 1 to 16,384.
        pub size: usize,
        /// Color of the square: one byte, or one per channel. Default: 0.
        pub fill: Vec<u8>,
    }
}

impl Cutout {
    /// Creates a square of zeros with this side in pixels.
    pub fn new(size: usize) -> Self {
        Cutout { size, fill: vec![0] }
    }

    /// Sets the color of the square: one byte, or one per channel. Default: 0.
    #[must_use]
    pub fn with_fill(self, fill: impl Into<Vec<u8>>) -> Self {
        Cutout { fill: fill.into(), ..self }
    }
}

impl Transform for Cutout {
    fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3]> {
        check_sides("size of a cutout", [self.size; 2], 1)?;
        check_fill("fill of a cutout", &self.fill, shape[0])?;
        Ok(shape)
    }

    fn run(&self, mut pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let mut random = Random::of_sample(key, position);
        let mut side = |length: usize| {
            let center = random.below(length as u64) as usize;
            let start = center.saturating_sub(self.size / 2);
            (start, (center + self.size - self.size / 2).min(length) - start)
        };
        let ((top, height), (left, width)) = (side(pixels.height), side(pixels.width));
        erase(&mut pixels, Rectangle { left, top, width, height }, &self.fill);
        pixels
    }
}

/// Fills a rectangle, which lies within the pixels and may be empty, with one color.
pub(super) fn erase(pixels: &mut Pixels, Rectangle { left, top, width, height }: Rectangle, fill: &[u8]) {
    let channels = pixels.channels;
    for row in top..top + height {
        for pixel in
            pixels.values[(row * pixels.width + left) * channels..][..width * channels].chunks_exact_mut(channels)
        {
            pixel.iter_mut().enumerate().for_each(|(channel, value)| *value = fill_of(fill, channel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Phase;

    /// Runs an operation on white images of 20×30 pixels, and returns the number of black pixels of each.
    fn black(operation: &impl Transform) -> Vec<usize> {
        let run = |index| {
            let key = SampleKey { index, epoch: 0, seed: 0, phase: Phase::Train };
            let pixels = operation.run(Pixels::filled(30, 20, &[255, 255, 255]), &key, 0);
            assert!(pixels.values.chunks(3).all(|pixel| pixel == [0; 3] || pixel == [255; 3]));
            pixels.values.chunks(3).filter(|pixel| *pixel == [0; 3]).count()
        };
        (0..1000).map(run).collect()
    }

    #[test]
    fn erased_areas_are_within_their_range_and_as_frequent_as_their_probability() {
        let counts = black(&RandomErasing::new());
        let erased = counts.iter().filter(|&&count| count > 0).count();
        // Six standard deviations: √(1000 · 1/4) = 16.
        assert!(erased.abs_diff(500) < 96, "{erased}");
        let areas: Vec<f64> = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / 600.0).collect();
        let (least, most) = areas.iter().fold((1.0_f64, 0.0_f64), |(a, b), &area| (a.min(area), b.max(area)));
        // 0.02 to 0.33, and the sides, of at least two pixels, are rounded by up to half a pixel.
        assert!((0.01..0.04).contains(&least) && (0.28..0.4).contains(&most), "{least} to {most}");
    }

    #[test]
    fn cut_out_squares_are_whole_or_cut_at_a_border() {
        let counts = black(&Cutout::new(6));
        assert_eq!(counts.iter().max(), Some(&36));
        assert_eq!(counts.iter().min(), Some(&9), "a quarter at a corner");
        assert!(black(&Cutout::new(100)).iter().all(|&count| count == 600), "larger than the image");
    }
}
