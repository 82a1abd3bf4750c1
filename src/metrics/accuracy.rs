//! The accuracy: the share of correct predictions.

use super::{BatchOutput, Direction, Metric, correct_predictions};
use crate::Result;
use serde::{Deserialize, Serialize};

/// The share of samples whose predicted class is the true one, from 0 to 1; no value where the targets are not classes.
/// In a mixed batch the true class is that of the largest probability.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Accuracy {
    correct: u64,
    samples: usize,
}

impl Accuracy {
    /// The name of the metric.
    pub const NAME: &str = "accuracy";
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn direction(&self) -> Direction {
        Direction::Maximize
    }

    fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        if let Some(classes) = batch.class_targets() {
            self.correct += correct_predictions(batch.outputs, &classes) as u64;
            self.samples += batch.samples();
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.correct += other.correct;
        self.samples += other.samples;
    }

    fn compute(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.correct as f64 / self.samples as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn accuracy_counts_samples_in_one_state_or_merged_from_two() {
        let logits = Tensor::from_slice(&[2.0_f32, 1.0, 0.0, 1.0, 3.0, 0.0]).view([3, 2]);
        let targets = Tensor::from_slice(&[0_i64, 0, 0]);
        let (one, class) = (logits.slice(0, 0, 1, 1), targets.slice(0, 0, 1, 1));
        let mut accuracy = Accuracy::default();
        accuracy.update(&BatchOutput::new(&logits, &targets, 0.0, 3.0)).unwrap();
        assert_eq!(accuracy.compute(), Some(2.0 / 3.0));
        let mut other = Accuracy::default();
        other.update(&BatchOutput::new(&one, &class, 0.0, 1.0)).unwrap();
        accuracy.merge(&other);
        assert_eq!(accuracy.compute(), Some(0.75));
    }

    #[test]
    fn targets_that_are_no_classes_have_no_accuracy() {
        let values = Tensor::from_slice(&[0.5_f32, 0.5]).view([1, 2]);
        let mut accuracy = Accuracy::default();
        accuracy.update(&BatchOutput::new(&values, &values, 0.0, 1.0)).unwrap();
        assert_eq!(accuracy.compute(), None);
    }

    #[test]
    fn a_mixed_batch_counts_against_the_class_of_the_largest_probability() {
        let logits = Tensor::from_slice(&[2.0_f32, 1.0, 0.0, 1.0]).view([2, 2]);
        let probabilities = Tensor::from_slice(&[0.6_f32, 0.4, 0.3, 0.7]).view([2, 2]);
        let mut accuracy = Accuracy::default();
        let output = BatchOutput::new(&logits, &probabilities, 0.0, 2.0).with_mixing(true);
        accuracy.update(&output).unwrap();
        assert_eq!(accuracy.compute(), Some(1.0));
        assert!(!output.is_classification());
    }

    #[test]
    fn one_logit_per_sample_has_no_accuracy_and_neither_have_rows_of_other_samples() {
        let classes = Tensor::from_slice(&[0_i64, 1]);
        for shape in [[2, 1], [1, 2]] {
            let logits = Tensor::from_slice(&[0.5_f32, -0.5]).view(shape);
            let mut accuracy = Accuracy::default();
            accuracy.update(&BatchOutput::new(&logits, &classes, 0.0, 2.0)).unwrap();
            assert_eq!(accuracy.compute(), None, "{shape:?}");
        }
    }
}
