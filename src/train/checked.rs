//! The tensors that every step checks.

use super::progress::Place;
use crate::error::TrainingError;
use crate::torch::{Buffers, all_finite, find_non_finite, named_variables};
use crate::{Error, Result};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// The tensors that every step checks: the trained variables, and the running statistics with a copy of their values.
#[derive(Debug)]
pub(super) struct CheckedTensors {
    trained: Vec<(String, Tensor)>,
    statistics: Buffers,
}

impl CheckedTensors {
    /// Finds the variables of a model, of which others may be frozen than before.
    pub fn of(vs: &VarStore) -> Self {
        let trained = named_variables(vs).into_iter().filter(|variable| variable.trainable);
        CheckedTensors {
            trained: trained.map(|variable| (variable.name, variable.tensor)).collect(),
            statistics: Buffers::of(vs),
        }
    }

    /// Saves the running statistics before a step.
    pub fn save(&mut self) -> Result<()> {
        self.statistics.save()
    }

    /// Gives the running statistics the saved values again.
    pub fn restore(&mut self) -> Result<()> {
        self.statistics.restore()
    }

    /// Writes 1 into `found` where a gradient, a running statistic or the loss is not finite, without waiting for it.
    pub fn find_non_finite(&self, loss: &Tensor, found: &mut Tensor) -> Result<()> {
        let gradients: Vec<Tensor> = self.trained.iter().map(|(_, variable)| variable.grad()).collect();
        let is_float =
            |tensor: &&Tensor| matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
        let statistics = self.statistics.tensors().iter().filter(is_float);
        find_non_finite(&gradients.iter().chain(statistics).chain([loss]).collect::<Vec<_>>(), found)
    }

    /// Checks that all gradients and all running statistics are finite, in one pass over them.
    pub fn check_finite(&self, vs: &VarStore, Place { epoch, step }: Place) -> Result<()> {
        let gradients: Vec<Tensor> = self.trained.iter().map(|(_, variable)| variable.grad()).collect();
        if all_finite(&gradients.iter().chain(self.statistics.tensors()).collect::<Vec<_>>())? {
            return Ok(());
        }
        for ((variable, _), gradient) in self.trained.iter().zip(&gradients) {
            if !all_finite(&[gradient])? {
                let variable = variable.clone();
                return Err(Error::Training(TrainingError::NonFiniteGradient { variable, epoch, step }));
            }
        }
        let is_bad = |tensor: &Tensor| all_finite(&[tensor]).is_ok_and(|is_finite| !is_finite);
        let statistic =
            named_variables(vs).into_iter().find(|variable| !variable.trainable && is_bad(&variable.tensor));
        let variable = statistic.map(|variable| variable.name).unwrap_or_default();
        Err(Error::Training(TrainingError::NonFiniteStatistic { variable, epoch, step }))
    }
}
