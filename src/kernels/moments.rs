//! Mean and variance per channel, of parts that are merged in a fixed order.

use super::Real;

/// Number of rows that are summed in the wide type before the sums are added in f64.
pub(super) const ROWS_A_SUM: usize = 64;

/// Count, mean and sum of squared deviations of each channel over some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Computes moments from sums around `shift`: Σ(x − shift) and Σ(x − shift)².
    pub(super) fn from_sums<W: Real>(count: usize, shift: &[W], sums: &[f64], squares: &[f64]) -> Self {
        let count = count as f64;
        let mean = shift.iter().zip(sums).map(|(shift, sum)| shift.to_f64() + sum / count).collect();
        let squares = sums.iter().zip(squares).map(|(sum, squares)| squares - sum * sum / count).collect();
        Moments { count, mean, squares }
    }

    /// Merges the moments of parts into those of all rows.
    ///
    /// # Source
    ///
    /// Chan, Golub, LeVeque: *Updating formulae and a pairwise algorithm for computing sample variances* (1979).
    pub fn merged(parts: impl IntoIterator<Item = Moments>) -> Moments {
        parts.into_iter().reduce(Moments::merge).unwrap_or_default()
    }

    fn merge(mut self, other: Moments) -> Moments {
        let count = self.count + other.count;
        let share = other.count / count;
        for (channel, mean) in self.mean.iter_mut().enumerate() {
            let difference = other.mean[channel] - *mean;
            *mean += difference * share;
            self.squares[channel] += other.squares[channel] + difference * difference * self.count * share;
        }
        self.count = count;
        self
    }

    /// Returns the sum of each channel.
    pub fn sums(&self) -> Vec<f64> {
        self.mean.iter().map(|mean| mean * self.count).collect()
    }

    /// Returns the mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns the biased variance of each channel.
    pub fn variance(&self) -> impl Iterator<Item = f64> + '_ {
        // Not the maximum with 0, which would hide NaN.
        self.squares.iter().map(|squares| if *squares < 0.0 { 0.0 } else { squares / self.count })
    }
}
