//! Variables, gradients and state, which all optimizers handle in the same way.

use crate::error::{CheckpointError, ConfigError};
use crate::torch::{clear_gradients, named_variables, no_grad};
use crate::{Error, Result};
use tch::Tensor;
use tch::nn::VarStore;

/// A trained variable and the optimizer's tensors that belong to it, of the variable's shape, 0 at the start.
#[derive(Debug)]
pub(super) struct Slot<const N: usize> {
    pub name: String,
    pub parameter: Tensor,
    pub state: [Tensor; N],
}

/// Returns one slot per trainable variable, sorted by name.
pub(super) fn slots<const N: usize>(vs: &VarStore) -> Result<Vec<Slot<N>>> {
    let slots: Vec<Slot<N>> = named_variables(vs)
        .into_iter()
        .filter(|variable| variable.trainable)
        .map(|variable| Slot {
            state: std::array::from_fn(|_| no_grad(|| variable.tensor.zeros_like())),
            name: variable.name,
            parameter: variable.tensor,
        })
        .collect();
    if slots.is_empty() { Err(Error::Config(ConfigError::NothingToTrain)) } else { Ok(slots) }
}

pub(super) fn zero_grad<const N: usize>(slots: &[Slot<N>]) -> Result<()> {
    clear_gradients(&slots.iter().map(|slot| &slot.parameter).collect::<Vec<_>>())
}

/// The variables that have a gradient, their gradients, and the optimizer's tensors that belong to them.
pub(super) struct WithGradients<'a, const N: usize> {
    pub parameters: Vec<&'a Tensor>,
    pub gradients: Vec<Tensor>,
    pub state: [Vec<&'a Tensor>; N],
}

impl<'a, const N: usize> WithGradients<'a, N> {
    pub fn of(slots: &'a [Slot<N>]) -> Self {
        let (slots, gradients): (Vec<_>, Vec<_>) =
            slots.iter().map(|slot| (slot, slot.parameter.grad())).filter(|(_, gradient)| gradient.defined()).unzip();
        WithGradients {
            parameters: slots.iter().map(|slot| &slot.parameter).collect(),
            gradients,
            state: std::array::from_fn(|n| slots.iter().map(|slot| &slot.state[n]).collect()),
        }
    }
}

/// Returns every slot's tensors under `<variable>.<kind>`, sorted by name.
pub(super) fn state<const N: usize>(slots: &[Slot<N>], kinds: [&str; N]) -> Vec<(String, Tensor)> {
    let mut state: Vec<_> = slots
        .iter()
        .flat_map(|slot| {
            kinds.iter().zip(&slot.state).map(|(kind, t)| (format!("{}.{kind}", slot.name), t.shallow_clone()))
        })
        .collect();
    state.sort_by(|a, b| a.0.cmp(&b.0));
    state
}

/// Copies `new` over `own` after names, shapes and dtypes were all compared.
pub(super) fn load(own: Vec<(String, Tensor)>, new: &[(String, Tensor)]) -> Result<()> {
    let mismatch = |name: &str, problem: String| {
        Error::Checkpoint(CheckpointError::StateMismatch { name: name.to_owned(), problem })
    };
    let mut sorted: Vec<&(String, Tensor)> = new.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, _) in &sorted {
        if own.binary_search_by(|(own, _)| own.cmp(name)).is_err() {
            return Err(mismatch(name, "the optimizer has no such tensor".to_owned()));
        }
    }
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(mismatch(&twice[0].0, "it is given twice".to_owned()));
    }
    let mut pairs = Vec::with_capacity(own.len());
    for (name, own) in own {
        let found = sorted.binary_search_by(|(given, _)| given.cmp(&name));
        let given = &sorted[found.map_err(|_| mismatch(&name, "it is missing".to_owned()))?].1;
        if (given.size(), given.kind()) != (own.size(), own.kind()) {
            let describe = |t: &Tensor| format!("{:?} {:?}", t.kind(), t.size());
            return Err(mismatch(&name, format!("it is {}, but has to be {}", describe(given), describe(&own))));
        }
        pairs.push((own, given));
    }
    no_grad(|| pairs.into_iter().for_each(|(mut own, given)| own.copy_(given)));
    Ok(())
}

/// Returns an error where a number is not finite or not in range.
pub(super) fn check(field: &'static str, value: f64, valid: bool, expected: &'static str) -> Result<()> {
    if value.is_finite() && valid {
        return Ok(());
    }
    Err(Error::invalid_value(field, value, expected))
}
