//! A small generator of random numbers whose output never changes.
//!
//! The same seed gives the same order of samples and the same validation split with every version of this crate and of
//! its dependencies. So the generator is implemented here, and tests pin its output.

use super::SampleKey;
use crate::kernels::{STEP, scramble};

/// The purpose of random numbers. Each has streams of its own, so that equal seeds do not give related choices.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    EpochOrder = 1,
    ValidationSplit = 2,
    SyntheticSample = 3,
    Augmentation = 4,
    Mixing = 5,
}

/// SplitMix64: a counter that is scrambled by a bijection.
pub(crate) struct Random {
    counter: u64,
}

impl Random {
    /// Creates the generator of stream `number` of a purpose and a seed.
    pub fn new(purpose: Purpose, seed: u64, number: u64) -> Self {
        let stream = scramble(seed.wrapping_add((purpose as u64).wrapping_mul(STEP)));
        Random { counter: scramble(stream ^ number) }
    }

    /// Creates the generator of one operation's augmentation of a sample, by its `position` among the operations.
    pub fn of_sample(key: &SampleKey, position: usize) -> Self {
        // Each step is a bijection, so that two keys which differ in one number have different streams.
        let sample = scramble((key.index as u64).wrapping_add(STEP));
        let epoch = scramble(sample ^ key.epoch);
        Random::new(Purpose::Augmentation, key.seed, scramble(epoch.wrapping_add(STEP) ^ position as u64))
    }

    /// Draws 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(STEP);
        scramble(self.counter)
    }

    /// Draws a number below `bound`, each with the same probability; `bound` is not 0.
    ///
    /// # Source
    ///
    /// Lemire: Fast random integer generation in an interval (2019), section 4.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The first 2⁶⁴ mod `bound` fractions are one too many for some results: they are drawn again.
        let surplus = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.bits()) * u128::from(bound);
            if product as u64 >= surplus {
                return (product >> 64) as u64;
            }
        }
    }

    /// Draws a number from 0 to 1, without the 1.
    pub fn unit(&mut self) -> f64 {
        // The 53 bits of an f64's significand.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a number from `low` to `high`.
    pub fn between(&mut self, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws whether something happens that has this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Draws an order of the numbers from 0 to `len` − 1, each with the same probability (Fisher–Yates).
    pub fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_published_generator() {
        // The first numbers of the authors' C program for the seed 1234567.
        let mut random = Random { counter: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.bits(), random.bits(), random.bits()], expected);
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut random = Random::new(Purpose::EpochOrder, 7, 0);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // Six standard deviations of a count: √(60,000 · 1/6 · 5/6) = 91.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 550), "{counts:?}");
        assert!((0..100).all(|_| random.below(1) == 0));
    }

    #[test]
    fn below_draws_surplus_fractions_again() {
        // With the bound 3·2⁶², four fractions give three results; without drawing again one result in three would be
        // twice as frequent.
        let mut random = Random::new(Purpose::EpochOrder, 1, 1);
        let thirds = (0..3_000).filter(|_| random.below(3 << 62).is_multiple_of(3)).count();
        // Six standard deviations: √(3,000 · 1/3 · 2/3) = 26.
        assert!(thirds.abs_diff(1_000) < 156, "{thirds}");
    }

    #[test]
    fn numbers_between_two_are_uniform_and_events_have_their_probability() {
        let mut random = Random::new(Purpose::Augmentation, 3, 0);
        let numbers: Vec<f64> = (0..10_000).map(|_| random.between([-1.0, 3.0])).collect();
        assert!(numbers.iter().all(|number| (-1.0..3.0).contains(number)));
        // Six standard deviations of a mean: 4 / √12 / √10,000 = 0.0115.
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.07, "{mean}");
        let count = (0..10_000).filter(|_| random.happens(0.25)).count();
        // Six standard deviations: √(10,000 · 1/4 · 3/4) = 43.
        assert!(count.abs_diff(2_500) < 260, "{count}");
        assert!((0..100).all(|_| random.happens(1.0) && !random.happens(0.0)));
    }

    #[test]
    fn samples_epochs_seeds_and_operations_have_streams_of_their_own() {
        let mut all = std::collections::HashSet::new();
        for (index, epoch, seed, position) in
            (0..10_000).map(|n| (n % 10, n as u64 / 10 % 10, n as u64 / 100 % 10, n / 1000))
        {
            let key = SampleKey { index, epoch, seed, phase: crate::data::Phase::Train };
            all.insert(Random::of_sample(&key, position).bits());
        }
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn purposes_seeds_and_numbers_have_streams_of_their_own() {
        let first = |purpose, seed, number| Random::new(purpose, seed, number).bits();
        let mut all = vec![first(Purpose::ValidationSplit, 0, 0), first(Purpose::SyntheticSample, 0, 0)];
        all.extend((0..30).flat_map(|seed| (0..30).map(move |number| first(Purpose::EpochOrder, seed, number))));
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
