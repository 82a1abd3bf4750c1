//! Dropout whose mask is a function of a key and of a value's place, so that the backward pass can compute it again.

use super::lanes::{at, each, put};
use super::{Real, STEP, scramble};

/// The choice of dropped values, and the factor of the others.
#[derive(Clone, Copy, Debug)]
pub struct DropMask {
    key: u64,
    /// Values are dropped whose 32 random bits are below.
    threshold: u32,
    factor: f64,
}

impl DropMask {
    /// Creates a mask that drops a share `rate` of all values, in [0, 1), and scales the others by 1/(1 − `rate`),
    /// which preserves the mean.
    pub fn new(key: u64, rate: f64) -> Self {
        DropMask { key, threshold: (rate * 2.0_f64.powi(32)) as u32, factor: (1.0 - rate).recip() }
    }

    /// Returns the share of values that are dropped.
    pub fn rate(&self) -> f64 {
        1.0 - self.factor.recip()
    }

    /// Whether the value at a place is not dropped.
    #[inline(always)]
    fn keeps(&self, place: u64) -> bool {
        (scramble(self.key.wrapping_add(place.wrapping_mul(STEP))) >> 32) as u32 >= self.threshold
    }
}

kernel! {
    /// Applies the mask to values of which the first has the place `first`. NaN stays NaN.
    pub fn drop(values: &mut [T], first: u64, mask: DropMask) {
        let (factor, zero) = (<T::Wide as Real>::from_f64(mask.factor), T::Wide::default());
        lanes!(values.len(), |next, N| {
            let value = at::<T, N>(values, next);
            let place = first.wrapping_add(next as u64);
            let by = each::<T::Wide, N>(|c| if mask.keeps(place.wrapping_add(c as u64)) { factor } else { zero });
            put(values, next, each::<T::Wide, N>(|c| value[c] * by[c]));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_dropped_and_the_mean_stays_wherever_the_work_is_cut() {
        let mask = DropMask::new(7, 0.2);
        let mut whole = vec![1.0_f32; 100_003];
        drop(&mut whole, 0, mask);
        let (first, second) = (&mut vec![1.0_f32; 40_001], &mut vec![1.0_f32; 60_002]);
        drop(first, 0, mask);
        drop(second, 40_001, mask);
        assert_eq!(whole, [&first[..], &second[..]].concat());
        assert!(whole.iter().all(|&value| value == 0.0 || value == 1.25));
        // The standard deviation of this share is 0.0013.
        let dropped = whole.iter().filter(|&&value| value == 0.0).count() as f64 / whole.len() as f64;
        assert!((dropped - 0.2).abs() < 0.006, "{dropped}");
        let mut other = vec![1.0_f32; 100_003];
        drop(&mut other, 0, DropMask::new(8, 0.2));
        let same = whole.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / whole.len() as f64;
        assert!((same - 0.68).abs() < 0.006, "{same}");
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        let mut values = [f32::NAN; 64];
        drop(&mut values, 0, DropMask::new(1, 0.5));
        assert!(values.iter().all(|value| value.is_nan()));
    }
}
