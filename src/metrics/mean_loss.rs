//! The mean loss per sample.

use super::{BatchOutput, Direction, Metric};
use crate::Result;
use serde::{Deserialize, Serialize};

/// The mean loss per sample: the mean of the batches' losses, weighted by their weights. So every sample counts equally,
/// or by its own weight, whatever the batch size.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MeanLoss {
    sum: f64,
    weight: f64,
}

impl MeanLoss {
    /// The name of the metric.
    pub const NAME: &str = "loss";
}

impl Metric for MeanLoss {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn direction(&self) -> Direction {
        Direction::Minimize
    }

    fn update(&mut self, batch: &BatchOutput) -> Result<()> {
        self.sum += batch.loss * batch.loss_weight;
        self.weight += batch.loss_weight;
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    fn compute(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn a_batch_counts_by_its_weight_in_one_state_or_merged_from_two() {
        let target = |samples| Tensor::zeros([samples], (Kind::Float, Device::Cpu));
        let (three, one) = (target(3), target(1));
        let mut first = MeanLoss::default();
        assert_eq!(first.compute(), None);
        first.update(&BatchOutput::new(&one, &one, 1.0, 3.0)).unwrap();
        let mut second = MeanLoss::default();
        second.update(&BatchOutput::new(&three, &three, 5.0, 1.0)).unwrap();
        let mut both = first.clone();
        both.update(&BatchOutput::new(&three, &three, 5.0, 1.0)).unwrap();
        first.merge(&second);
        assert_eq!((first.compute(), both.compute()), (Some(2.0), Some(2.0)));
    }
}
