//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// The learning rate as a pure function of the step and the run's length, so that a resumed run needs no memory of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// The optimizer's rate all the time.
    #[default]
    Constant,
    /// Divided by `factor` at each of these shares of the run.
    Steps {
        /// Shares of the run, in [0, 1].
        at: Vec<f64>,
        /// Usually 10.
        factor: f64,
    },
    /// Half a cosine from the optimizer's rate down to 0.
    ///
    /// # Source
    ///
    /// Loshchilov & Hutter: *SGDR*, ICLR 2017, equation 5, without restarts.
    Cosine,
}

impl Schedule {
    /// Divided by 10 at half and at three quarters of the run.
    ///
    /// # Source
    ///
    /// Huang et al. 2017, section 4.2.
    pub fn cifar() -> Self {
        Schedule::Steps { at: vec![0.5, 0.75], factor: 10.0 }
    }

    /// The rate of step `step` (from 0) of `total`, where `base` is the optimizer's.
    pub fn rate(&self, base: f64, step: u64, total: u64) -> f64 {
        let progress = step as f64 / total.max(1) as f64;
        match self {
            Schedule::Constant => base,
            Schedule::Steps { at, factor } => {
                let passed = at.iter().filter(|&&share| progress >= share).count();
                base / factor.powi(passed as i32)
            }
            Schedule::Cosine => base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cifar_recipe_divides_at_half_and_three_quarters() {
        let rates: Vec<f64> = [0, 49, 50, 74, 75, 99].map(|step| Schedule::cifar().rate(0.1, step, 100)).to_vec();
        assert_eq!(rates, [0.1, 0.1, 0.1 / 10.0, 0.1 / 10.0, 0.1 / 100.0, 0.1 / 100.0]);
    }

    #[test]
    fn cosine_starts_at_the_base_and_ends_near_zero() {
        assert_eq!(Schedule::Cosine.rate(0.1, 0, 100), 0.1);
        assert!(Schedule::Cosine.rate(0.1, 99, 100) < 1e-4);
    }
}
