//! Loss and accuracy over many batches.

use serde::{Deserialize, Serialize};

/// Loss and accuracy over a set of samples: sums over the samples divided by their number, so that a small last batch
/// counts for what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean loss a sample.
    pub loss: f64,
    /// Share of samples whose class was predicted right, from 0 to 1; `None` where the targets are not classes.
    pub accuracy: Option<f64>,
    /// The number of samples.
    pub samples: usize,
}

/// The sums that become [`Scores`]. Plain numbers: nothing of the graph is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreSums {
    loss: f64,
    right: u64,
    classified: usize,
    samples: usize,
}

impl ScoreSums {
    /// Adds a batch: its mean loss, its size, and how many of its samples were predicted right where that makes sense.
    pub fn add(&mut self, mean_loss: f64, samples: usize, right: Option<i64>) {
        self.loss += mean_loss * samples as f64;
        self.samples += samples;
        if let Some(right) = right {
            self.right += right as u64;
            self.classified += samples;
        }
    }

    /// The number of samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The means; `None` before the first sample.
    pub fn scores(&self) -> Option<Scores> {
        (self.samples > 0).then(|| Scores {
            loss: self.loss / self.samples as f64,
            accuracy: (self.classified > 0).then(|| self.right as f64 / self.classified as f64),
            samples: self.samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_last_batch_counts_for_what_it_holds() {
        let mut sums = ScoreSums::default();
        sums.add(1.0, 3, Some(3));
        sums.add(5.0, 1, Some(0));
        assert_eq!(sums.scores(), Some(Scores { loss: 2.0, accuracy: Some(0.75), samples: 4 }));
    }

    #[test]
    fn nothing_has_no_scores_and_values_no_accuracy() {
        assert_eq!(ScoreSums::default().scores(), None);
        let mut sums = ScoreSums::default();
        sums.add(1.0, 2, None);
        assert_eq!(sums.scores().unwrap().accuracy, None);
    }
}
