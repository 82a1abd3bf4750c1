//! Schedules of the learning rate over a run.

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
/// use densenet::optim::Schedule;
///
/// let schedule = Schedule::Epochs { milestones: vec![30, 60], gamma: 0.1 };
/// let config = TrainConfig::new(90).with_schedule(schedule);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// The optimizer's learning rate in every step.
    #[default]
    Constant,
    /// The learning rate is multiplied by `gamma` after each of these epochs, as by PyTorch's `MultiStepLR`.
    Epochs {
        /// Numbers of finished epochs: with 30, epoch 31 is the first one with the changed rate.
        milestones: Vec<usize>,
        /// The factor at each milestone, above 0 and at most 1; usually 0.1.
        gamma: f64,
    },
    /// The learning rate is multiplied by `gamma` at each of these shares of the run.
    Shares {
        /// Shares of the run, in [0, 1]: 0.5 is the middle.
        milestones: Vec<f64>,
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

impl Schedule {
    /// Multiplies the learning rate by 0.1 at half and at three quarters of the run.
    ///
    /// # Source
    ///
    /// Huang et al. 2017, section 4.2.
    pub fn cifar() -> Self {
        Schedule::Shares { milestones: vec![0.5, 0.75], gamma: 0.1 }
    }

    /// Returns the learning rate of step `step`, 0-based and counted over all epochs, where `base` is the optimizer's
    /// learning rate.
    pub fn learning_rate(&self, base: f64, step: u64, steps_per_epoch: u64, epochs: u64) -> f64 {
        let progress = step as f64 / (steps_per_epoch * epochs).max(1) as f64;
        match self {
            Schedule::Constant => base,
            Schedule::Epochs { milestones, gamma } => {
                let finished = step / steps_per_epoch.max(1);
                base * gamma.powi(milestones.iter().filter(|&&epoch| finished >= epoch as u64).count() as i32)
            }
            Schedule::Shares { milestones, gamma } => {
                base * gamma.powi(milestones.iter().filter(|&&share| progress >= share).count() as i32)
            }
            Schedule::Cosine => base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }

    /// Checks gamma and milestones.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue).
    pub(crate) fn check(&self) -> Result<()> {
        let (Schedule::Epochs { gamma, .. } | Schedule::Shares { gamma, .. }) = self else { return Ok(()) };
        let invalid = |field, value, expected| Err(Error::invalid_value(field, value, expected));
        if !(*gamma > 0.0 && *gamma <= 1.0) {
            let expected = "above 0 and at most 1: the learning rate is multiplied by it";
            return invalid("gamma of the schedule", gamma.to_string(), expected);
        }
        match self {
            Schedule::Shares { milestones, .. } if !milestones.iter().all(|share| (0.0..=1.0).contains(share)) => {
                invalid("milestones of the schedule", format!("{milestones:?}"), "shares of the run, from 0 to 1")
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
        let schedule = Schedule::Epochs { milestones: vec![1, 3], gamma: 0.5 };
        let rates = [0, 9, 10, 29, 30, 39].map(|step| schedule.learning_rate(1.0, step, 10, 4));
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn cosine_starts_at_the_base_and_ends_near_zero() {
        assert_eq!(Schedule::Cosine.learning_rate(0.1, 0, 10, 10), 0.1);
        assert!(Schedule::Cosine.learning_rate(0.1, 99, 10, 10) < 1e-4);
    }
}
