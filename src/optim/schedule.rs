//! Schedules of the learning rate over a run.

use crate::error::ConfigError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A learning-rate schedule: a pure function of the step and the run's length, so that a resumed run needs no state for
/// it.
///
/// # Examples
///
/// A learning rate that is multiplied by 0.1 after 30 and after 60 epochs:
///
/// ```
/// use densenet::TrainConfig;
/// use densenet::optim::{Milestones, Schedule};
///
/// let schedule = Schedule::Steps { milestones: Milestones::Epochs(vec![30, 60]), gamma: 0.1 };
/// let config = TrainConfig::new(90).with_schedule(schedule);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// The optimizer's learning rate in every step.
    #[default]
    Constant,
    /// The learning rate is multiplied by `gamma` at each milestone, as by PyTorch's `MultiStepLR`.
    Steps {
        /// The places of a run at which the learning rate changes.
        milestones: Milestones,
        /// The factor at each milestone, above 0 and at most 1; usually 0.1.
        gamma: f64,
    },
    /// Half a cosine from the optimizer's learning rate down to 0.
    ///
    /// # Source
    ///
    /// Loshchilov & Hutter: *SGDR*, ICLR 2017, equation 5, without restarts.
    Cosine,
}

/// The places of a run at which [`Schedule::Steps`] changes the learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Milestones {
    /// Shares of the run, in [0, 1]: 0.5 is the middle.
    Shares(Vec<f64>),
    /// Numbers of finished epochs: with 30, epoch 31 is the first one with the changed rate.
    Epochs(Vec<usize>),
}

impl Schedule {
    /// Multiplies the learning rate by 0.1 at half and at three quarters of the run.
    ///
    /// # Source
    ///
    /// Huang et al. 2017, section 4.2.
    pub fn cifar() -> Self {
        Schedule::Steps { milestones: Milestones::Shares(vec![0.5, 0.75]), gamma: 0.1 }
    }

    /// Returns the learning rate of step `step`, 0-based and counted over all epochs, where `base` is the optimizer's
    /// learning rate.
    pub fn learning_rate(&self, base: f64, step: u64, steps_per_epoch: u64, epochs: u64) -> f64 {
        let progress = step as f64 / (steps_per_epoch * epochs).max(1) as f64;
        match self {
            Schedule::Constant => base,
            Schedule::Steps { milestones, gamma } => {
                let passed = match milestones {
                    Milestones::Shares(shares) => shares.iter().filter(|&&share| progress >= share).count(),
                    Milestones::Epochs(epochs) => {
                        let finished = step / steps_per_epoch.max(1);
                        epochs.iter().filter(|&&epoch| finished >= epoch as u64).count()
                    }
                };
                base * gamma.powi(passed as i32)
            }
            Schedule::Cosine => base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }

    /// Checks gamma and milestones.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for a value outside its range.
    pub(crate) fn check(&self) -> Result<()> {
        let Schedule::Steps { milestones, gamma } = self else { return Ok(()) };
        let invalid = |field, value, expected| Err(Error::Config(ConfigError::InvalidValue { field, value, expected }));
        if !(*gamma > 0.0 && *gamma <= 1.0) {
            let expected = "above 0 and at most 1: the learning rate is multiplied by it";
            return invalid("gamma of the schedule", gamma.to_string(), expected);
        }
        match milestones {
            Milestones::Shares(shares) if !shares.iter().all(|share| (0.0..=1.0).contains(share)) => {
                invalid("milestones of the schedule", format!("{shares:?}"), "shares of the run, from 0 to 1")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cifar_recipe_multiplies_at_half_and_three_quarters() {
        let rates = [0, 49, 50, 74, 75, 99].map(|step| Schedule::cifar().learning_rate(0.1, step, 10, 10));
        assert_eq!(rates, [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * (0.1 * 0.1), 0.1 * (0.1 * 0.1)]);
    }

    #[test]
    fn milestones_in_epochs_count_finished_epochs() {
        let schedule = Schedule::Steps { milestones: Milestones::Epochs(vec![1, 3]), gamma: 0.5 };
        let rates = [0, 9, 10, 29, 30, 39].map(|step| schedule.learning_rate(1.0, step, 10, 4));
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn cosine_starts_at_the_base_and_ends_near_zero() {
        assert_eq!(Schedule::Cosine.learning_rate(0.1, 0, 10, 10), 0.1);
        assert!(Schedule::Cosine.learning_rate(0.1, 99, 10, 10) < 1e-4);
    }
}
