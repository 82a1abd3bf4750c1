//! How long a run will take.

use crate::Result;
use crate::train::{Callback, Event, Flow, Run};
use std::time::Duration;

/// Says once, after some steps, how fast training is and how long the run will take. Prints to standard error.
#[derive(Debug, Default)]
pub struct TimeEstimate {
    steps: usize,
    samples: usize,
    seconds: f64,
}

/// The first steps are slower: memory is allocated, kernels are chosen.
const WARM_UP_STEPS: usize = 3;
const MEASURED_STEPS: usize = 7;

/// An evaluation does a third of the work of training: the forward pass without the backward one.
const EVALUATION_SHARE: f64 = 1.0 / 3.0;

impl TimeEstimate {
    /// An estimate after ten steps.
    pub fn new() -> Self {
        TimeEstimate::default()
    }
}

impl Callback for TimeEstimate {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        if let Event::StepEnded { samples, duration, .. } = event {
            self.steps += 1;
            if self.steps > WARM_UP_STEPS {
                self.samples += samples;
                self.seconds += duration.as_secs_f64();
            }
            if self.steps == WARM_UP_STEPS + MEASURED_STEPS {
                let a_sample = self.seconds / self.samples as f64;
                let an_epoch = run.train.len() as f64 + run.test.len() as f64 * EVALUATION_SHARE;
                let total = Duration::from_secs_f64(a_sample * an_epoch * run.config.epochs as f64);
                let epochs = run.config.epochs;
                eprintln!("about {} for {epochs} epochs, at {:.0} images/s", rounded(total), 1.0 / a_sample);
            }
        }
        Ok(Flow::Continue)
    }
}

/// "45 s", "12 min", "3 h 20 min".
fn rounded(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_to_what_a_person_wants_to_know() {
        for (seconds, text) in [(45, "45 s"), (719, "12 min"), (12_010, "3 h 20 min")] {
            assert_eq!(rounded(Duration::from_secs(seconds)), text);
        }
    }
}
