//! An estimate of how long a run will take.

use super::format;
use super::terminal::beside_bar;
use crate::train::Run;
use std::io::{self, Write};
use std::time::Duration;

/// Prints the speed of training and an estimate of the time to the run's end once, after ten steps, on standard error.
#[derive(Debug, Default)]
pub(super) struct TimeEstimate {
    steps: usize,
    samples: usize,
    seconds: f64,
}

/// Number of first steps that are not measured: they are slower, since memory is allocated and kernels are chosen.
const WARM_UP_STEPS: usize = 3;
const MEASURED_STEPS: usize = 7;

/// Time of an evaluation as a share of training on equally many samples: the forward pass is a third of a step.
const EVALUATION_SHARE: f64 = 1.0 / 3.0;

impl TimeEstimate {
    fn print(&self, run: &Run) {
        let per_sample = self.seconds / self.samples as f64;
        let sets = run.datasets;
        let evaluated: usize = [sets.validation, sets.test].into_iter().flatten().map(|dataset| dataset.len()).sum();
        let per_epoch = per_sample * (sets.train.len() as f64 + evaluated as f64 * EVALUATION_SHARE);
        let (epochs, steps) = (run.config.epochs, run.steps_per_epoch);
        let left = epochs_left(epochs, steps, (run.epoch, run.step));
        let total = format::duration(Duration::from_secs_f64(per_epoch * left));
        // An error is ignored: the estimate is not essential.
        let _ = beside_bar(|| {
            writeln!(io::stderr(), "about {total} to epoch {epochs}, at {:.0} images/s", 1.0 / per_sample)
        });
    }

    /// Counts a step, and prints the estimate after the tenth.
    pub fn step_ended(&mut self, samples: usize, duration: Duration, run: &Run) {
        self.steps += 1;
        if self.steps > WARM_UP_STEPS {
            self.samples += samples;
            self.seconds += duration.as_secs_f64();
        }
        if self.steps == WARM_UP_STEPS + MEASURED_STEPS {
            self.print(run);
        }
    }
}

/// Returns the number of epochs that are left after some steps of an epoch, which counts from 1.
fn epochs_left(epochs: usize, steps_per_epoch: usize, (epoch, step): (usize, usize)) -> f64 {
    let done = epoch as f64 - 1.0 + step as f64 / steps_per_epoch.max(1) as f64;
    (epochs as f64 - done).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_has_only_its_remaining_epochs_left() {
        assert_eq!(epochs_left(10, 100, (1, 0)), 10.0);
        assert_eq!(epochs_left(10, 100, (8, 50)), 2.5);
        assert_eq!(epochs_left(10, 100, (11, 0)), 0.0);
        assert_eq!(epochs_left(10, 0, (10, 3)), 0.0);
    }
}
