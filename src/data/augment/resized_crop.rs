//! Random crops that are resized to one size.

use super::transform::{Transform, check_range, check_sides};
use crate::Error;
use crate::Result;
use crate::data::random::Random;
use crate::data::{Interpolation, Pixels, Rectangle, SampleKey};
use serde::{Deserialize, Serialize};

config! {
    /// Cuts a rectangle of random area and aspect ratio out of an image, and resizes it, antialiased.
    #[cfg_attr(docsrs, doc(cfg(feature = "images")))]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct RandomResizedCrop {
        /// Height and width after resizing in pixels, 1 to 16,384.
        pub size: [usize; 2],
        /// Smallest and largest area of the rectangle, as a share of the image's, within 0 to 1. Default: 0.08 to 1.
        pub scale: [f64; 2] => with_scale,
        /// Smallest and largest aspect ratio of the rectangle, width by height, within 0.01 to 100. Default: 3/4 to
        /// 4/3.
        pub ratio: [f64; 2] => with_ratio,
        /// The way in which the rectangle is resized. Default: bilinear.
        pub interpolation: Interpolation => with_interpolation,
    }
}

impl RandomResizedCrop {
    /// Creates a crop that is resized to this height and width in pixels.
    pub fn new(size: [usize; 2]) -> Self {
        let interpolation = Interpolation::Bilinear;
        RandomResizedCrop { size, scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0], interpolation }
    }

    /// Draws the rectangle: up to ten tries, and then the largest one in the middle whose aspect ratio is allowed.
    fn rectangle(&self, width: usize, height: usize, random: &mut Random) -> Rectangle {
        let log_ratio = self.ratio.map(f64::ln);
        for _ in 0..10 {
            let area = (width * height) as f64 * random.between(self.scale);
            let ratio = random.between(log_ratio).exp();
            let sides = [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even() as usize);
            if (1..=width).contains(&sides[0]) && (1..=height).contains(&sides[1]) {
                let top = random.below((height - sides[1]) as u64 + 1) as usize;
                let left = random.below((width - sides[0]) as u64 + 1) as usize;
                return Rectangle { left, top, width: sides[0], height: sides[1] };
            }
        }
        central(width, height, self.ratio)
    }
}

/// Returns the largest rectangle in the middle of an image whose aspect ratio is within a range.
fn central(width: usize, height: usize, [low, high]: [f64; 2]) -> Rectangle {
    let ratio = width as f64 / height as f64;
    let rounded = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most);
    let (part_width, part_height) = if ratio < low {
        (width, rounded(width as f64 / low, height))
    } else if ratio > high {
        (rounded(height as f64 * high, width), height)
    } else {
        (width, height)
    };
    Rectangle {
        left: (width - part_width) / 2,
        top: (height - part_height) / 2,
        width: part_width,
        height: part_height,
    }
}

impl Transform for RandomResizedCrop {
    fn output_shape(&self, [channels, _, _]: [usize; 3]) -> Result<[usize; 3]> {
        check_sides("size of a resized crop", self.size, 1)?;
        check_range("scale of a resized crop", self.scale, [0.0, 1.0], "a range within 0 to 1")?;
        check_range("ratio of a resized crop", self.ratio, [0.01, 100.0], "a range within 0.01 to 100")?;
        match channels {
            1..=4 => Ok([channels, self.size[0], self.size[1]]),
            _ => {
                Err(Error::invalid_value("image of a resized crop", format!("{channels} channels"), "1 to 4 channels"))
            }
        }
    }

    fn run(&self, pixels: Pixels, key: &SampleKey, position: usize) -> Pixels {
        let rectangle = self.rectangle(pixels.width, pixels.height, &mut Random::of_sample(key, position));
        pixels.resize_part(rectangle, self.size, self.interpolation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::random::Purpose;

    #[test]
    fn rectangles_have_allowed_areas_and_ratios_and_lie_within_the_image() {
        let crop = RandomResizedCrop::new([8, 8]);
        let mut random = Random::new(Purpose::Augmentation, 0, 0);
        let mut areas = Vec::new();
        for _ in 0..1000 {
            let Rectangle { left, top, width, height } = crop.rectangle(300, 200, &mut random);
            assert!(left + width <= 300 && top + height <= 200);
            let (share, ratio) = ((width * height) as f64 / 60_000.0, width as f64 / height as f64);
            // Sides are rounded to pixels, of which there are at least 60.
            assert!((0.078..=1.0).contains(&share) && (0.74..=1.36).contains(&ratio), "{share} {ratio}");
            areas.push(share);
        }
        areas.sort_by(f64::total_cmp);
        assert!(areas[0] < 0.1 && areas[999] > 0.85, "{} to {}", areas[0], areas[999]);
    }

    #[test]
    fn where_no_try_fits_the_middle_is_taken() {
        let of = |width, height| {
            let Rectangle { left, top, width, height } = RandomResizedCrop::new([8, 8])
                .with_scale([1.0, 1.0])
                .rectangle(width, height, &mut Random::new(Purpose::Augmentation, 0, 0));
            [left, top, width, height]
        };
        // torchvision: 10·(4/3) = 13.3 → 13 wide, (1000 − 13) / 2 = 493; 10 / (3/4) = 13.3 → 13 high.
        assert_eq!(of(1000, 10), [493, 0, 13, 10]);
        assert_eq!(of(10, 1000), [0, 493, 10, 13]);
        assert_eq!(of(1, 1), [0, 0, 1, 1]);
    }
}
