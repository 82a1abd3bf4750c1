//! Steps of which the host reads the results together.

use crate::data::SkippedSample;
use crate::optim::Optimizer;
use crate::torch::Buffers;
use crate::{Error, Result};
use std::time::Instant;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// A batch on the device.
pub(super) struct StepBatch {
    pub inputs: Tensor,
    pub targets: Tensor,
    pub samples: usize,
    /// Samples that could not be read, and whose places others took.
    pub skipped: Vec<SkippedSample>,
    /// The beginning of its step: of the wait for the batch.
    pub started: Instant,
}

/// The results of a step that are not read from the device yet.
pub(super) struct Unread {
    pub outputs: Tensor,
    /// The mean loss, a scalar.
    pub mean: Tensor,
    /// The weight of the mean.
    pub weight: f64,
}

/// Steps whose results are not read yet, and the state before the first of them.
#[derive(Default)]
pub(super) struct UnreadSteps {
    pub steps: Vec<(StepBatch, Unread)>,
    /// All variables and the state of the optimizer before the first step.
    before: Option<Buffers>,
    /// 1 where a value in the steps is not finite, `[1]` on the device.
    pub found: Option<Tensor>,
}

impl UnreadSteps {
    /// Saves the state before the first step.
    pub fn begin(&mut self, vs: &VarStore, optimizer: &dyn Optimizer) -> Result<()> {
        self.found = Some(Tensor::zeros([1], (Kind::Float, vs.device())));
        match &mut self.before {
            Some(before) => before.save(),
            None => {
                let state = optimizer.state().into_iter().map(|(_, tensor)| tensor);
                self.before = Some(Buffers::new(vs.variables().into_values().chain(state).collect()));
                Ok(())
            }
        }
    }

    /// Restores the state before the first step, and returns the batches of all steps.
    pub fn undo(&mut self) -> Result<Vec<StepBatch>> {
        self.before.as_mut().map_or(Ok(()), Buffers::restore)?;
        Ok(self.steps.drain(..).map(|(batch, _)| batch).collect())
    }

    /// Waits for the losses of all steps; returns `None` where a value in them is not finite.
    pub fn losses(&self) -> Result<Option<Vec<f64>>> {
        let means = self.steps.iter().map(|(_, results)| &results.mean).chain(&self.found);
        let means: Vec<Tensor> = means.map(|mean| mean.to_kind(Kind::Double).view([1])).collect();
        let all = Tensor::f_cat(&means, 0).and_then(Vec::<f64>::try_from).map_err(Error::libtorch("losses"))?;
        let (found, losses) = all.split_last().expect("there is one more than losses");
        Ok((*found == 0.0 && losses.iter().all(|loss| loss.is_finite())).then(|| losses.to_vec()))
    }
}
