//! Variables, gradients and state, which all optimizers handle in the same way.

use super::table::{ParameterRow, ParameterTable};
use crate::error::{CheckpointError, ConfigError};
use crate::torch::{Rate, Variable, clear_gradients, no_grad, parameters};
use crate::{Error, Result};
use std::collections::HashSet;
use tch::Tensor;
use tch::nn::VarStore;

/// A parameter, its rates before the schedule's factor, and the optimizer's tensors that belong to it.
#[derive(Debug)]
pub(super) struct Slot<const N: usize> {
    pub name: String,
    pub parameter: Tensor,
    pub rate: Rate,
    /// The optimizer's tensors of the parameter's shape, 0 at the start; `None` for one that was frozen when the
    /// optimizer was built and has not been trained since.
    pub state: Option<[Tensor; N]>,
    /// Whether the parameter was frozen when the optimizer was built, so that a saved state may be without it.
    was_frozen: bool,
}

impl<const N: usize> Slot<N> {
    /// Whether a step changes the parameter. A frozen one may still have a gradient from before.
    pub fn is_stepped(&self) -> bool {
        self.parameter.requires_grad() && self.parameter.grad().defined()
    }
}

/// Returns one slot per parameter, in the order of the table, which has a row for each.
pub(super) fn slots<const N: usize>(vs: &VarStore, table: &ParameterTable) -> Result<Vec<Slot<N>>> {
    let slot = |(own, row): (Variable, &ParameterRow)| {
        let &ParameterRow { learning_rate, weight_decay, .. } = row;
        Ok(Slot {
            state: own.trainable.then(|| zeros_like(&own.tensor)).transpose()?,
            name: own.name,
            parameter: own.tensor,
            rate: Rate { learning_rate, weight_decay },
            was_frozen: !own.trainable,
        })
    };
    let slots: Vec<Slot<N>> = parameters(vs).into_iter().zip(&table.rows).map(slot).collect::<Result<_>>()?;
    match slots.iter().all(|slot| slot.was_frozen) {
        true => Err(Error::Config(ConfigError::NothingToTrain)),
        false => Ok(slots),
    }
}

fn zeros_like<const N: usize>(parameter: &Tensor) -> Result<[Tensor; N]> {
    let zeros = || no_grad(|| parameter.f_zeros_like()).map_err(Error::libtorch("state of the optimizer"));
    let tensors: Vec<Tensor> = (0..N).map(|_| zeros()).collect::<Result<_>>()?;
    Ok(tensors.try_into().expect("as many as there are kinds"))
}

/// Gives state to the parameters that a step changes for the first time since they were unfrozen.
pub(super) fn allocate<const N: usize>(slots: &mut [Slot<N>]) -> Result<()> {
    for slot in slots.iter_mut().filter(|slot| slot.state.is_none() && slot.is_stepped()) {
        slot.state = Some(zeros_like(&slot.parameter)?);
    }
    Ok(())
}

pub(super) fn zero_grad<const N: usize>(slots: &[Slot<N>]) -> Result<()> {
    clear_gradients(&slots.iter().map(|slot| &slot.parameter).collect::<Vec<_>>())
}

/// The parameters that a step changes, their gradients and rates, and the optimizer's tensors that belong to them.
pub(super) struct Stepped<'a, const N: usize> {
    pub parameters: Vec<&'a Tensor>,
    pub gradients: Vec<Tensor>,
    pub rates: Vec<Rate>,
    pub state: [Vec<&'a Tensor>; N],
}

impl<'a, const N: usize> Stepped<'a, N> {
    /// Takes them from slots after [`allocate`], for a step whose schedule changes the learning rate `base` to
    /// `scheduled`.
    pub fn of(slots: &'a [Slot<N>], base: f64, scheduled: f64) -> Self {
        let (slots, states): (Vec<_>, Vec<_>) = slots
            .iter()
            .filter(|slot| slot.is_stepped())
            .filter_map(|slot| slot.state.as_ref().map(|state| (slot, state)))
            .unzip();
        Stepped {
            parameters: slots.iter().map(|slot| &slot.parameter).collect(),
            gradients: slots.iter().map(|slot| slot.parameter.grad()).collect(),
            rates: slots.iter().map(|slot| slot.rate.scheduled(base, scheduled)).collect(),
            state: std::array::from_fn(|n| states.iter().map(|state| &state[n]).collect()),
        }
    }
}

/// Returns the tensors of every slot that has state, under `<variable>.<kind>`, sorted by name.
pub(super) fn state<const N: usize>(slots: &[Slot<N>], kinds: [&str; N]) -> Vec<(String, Tensor)> {
    let of_slot = |slot: &Slot<N>, state: &[Tensor; N]| {
        let named = kinds.iter().zip(state).map(|(kind, t)| (format!("{}.{kind}", slot.name), t.shallow_clone()));
        named.collect::<Vec<_>>()
    };
    let with_state = slots.iter().filter_map(|slot| Some((slot, slot.state.as_ref()?)));
    let mut state: Vec<_> = with_state.flat_map(|(slot, state)| of_slot(slot, state)).collect();
    state.sort_by(|a, b| a.0.cmp(&b.0));
    state
}

/// Gives state to those of the slots that were frozen at first which `given` has tensors for, and to none of the
/// others. Returns what there was before, for an error.
pub(super) fn fit_to<const N: usize>(
    slots: &mut [Slot<N>],
    kinds: [&str; N],
    given: &[(String, Tensor)],
) -> Result<Vec<Option<[Tensor; N]>>> {
    let names: HashSet<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    let is_given = |slot: &Slot<N>| kinds.iter().any(|kind| names.contains(format!("{}.{kind}", slot.name).as_str()));
    let fitting = |slot: &Slot<N>| match &slot.state {
        state if !slot.was_frozen => Ok(state.as_ref().map(|state| state.each_ref().map(Tensor::shallow_clone))),
        Some(state) if is_given(slot) => Ok(Some(state.each_ref().map(Tensor::shallow_clone))),
        None if is_given(slot) => zeros_like(&slot.parameter).map(Some),
        _ => Ok(None),
    };
    let states: Vec<_> = slots.iter().map(fitting).collect::<Result<_>>()?;
    Ok(slots.iter_mut().zip(states).map(|(slot, state)| std::mem::replace(&mut slot.state, state)).collect())
}

/// Gives the slots the state that [`fit_to`] returned.
pub(super) fn revert<const N: usize>(slots: &mut [Slot<N>], before: Vec<Option<[Tensor; N]>>) {
    slots.iter_mut().zip(before).for_each(|(slot, state)| slot.state = state);
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
