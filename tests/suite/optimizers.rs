//! Optimizers where some variables have no gradient, or a step fails.

use densenet::error::CheckpointError;
use densenet::tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::{AdamWConfig, Error};

/// Makes a step in which the gradient of each of these variables is 1.
fn step(optimizer: &mut dyn densenet::optim::Optimizer, variables: &[&Tensor]) -> densenet::Result<()> {
    optimizer.zero_grad().unwrap();
    variables.iter().for_each(|variable| variable.sum(Kind::Float).backward());
    optimizer.step(0.01)
}

#[test]
fn adamw_corrects_the_moments_of_each_variable_by_its_own_steps() {
    let vs = VarStore::new(Device::Cpu);
    let [early, late] = ["early", "late"].map(|name| vs.root().zeros(name, &[3]));
    let mut optimizer = AdamWConfig::new(0.01).with_weight_decay(0.0).build(&vs).unwrap();
    for _ in 0..1000 {
        step(&mut optimizer, &[&early]).unwrap();
    }
    assert_eq!(late, Tensor::zeros([3], (Kind::Float, Device::Cpu)));
    step(&mut optimizer, &[&early, &late]).unwrap();
    // The first step of Adam moves by the rate, whatever the gradient; ε and roundings of f32 are smaller.
    let moved = late.mean(Kind::Double).double_value(&[]);
    assert!((moved + 0.01).abs() < 1e-6, "{moved}");
    let steps: Vec<_> = optimizer.state().into_iter().filter(|(name, _)| name.ends_with(".step")).collect();
    let counts: Vec<_> = steps.iter().map(|(name, count)| (name.as_str(), count.int64_value(&[0]))).collect();
    assert_eq!(counts, [("early.step", 1001), ("late.step", 1)]);
}

#[test]
fn a_step_of_adamw_that_fails_changes_nothing_and_does_not_count() {
    let vs = VarStore::new(Device::Cpu);
    let [a, mut b] = ["a", "b"].map(|name| vs.root().zeros(name, &[3, 2]));
    let mut optimizer = AdamWConfig::new(0.01).build(&vs).unwrap();
    step(&mut optimizer, &[&a, &b]).unwrap();
    let (before, value) = (state_of(&*optimizer), no_grad(|| a.copy()));
    // Another memory format than when the optimizer was built.
    b.set_data(&no_grad(|| Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).transpose(0, 1)));
    assert!(step(&mut optimizer, &[&a, &b]).is_err());
    assert_eq!(state_of(&*optimizer), before);
    assert_eq!(a, value);
}

fn state_of(optimizer: &dyn densenet::optim::Optimizer) -> Vec<(String, Tensor)> {
    optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

#[test]
fn a_negative_number_of_steps_is_an_error_that_names_it() {
    let vs = VarStore::new(Device::Cpu);
    let a = vs.root().zeros("a", &[3]);
    let mut optimizer = AdamWConfig::new(0.01).build(&vs).unwrap();
    step(&mut optimizer, &[&a]).unwrap();
    let mut state = state_of(&*optimizer);
    let _ = state.iter_mut().find(|(name, _)| name == "a.step").unwrap().1.fill_(-5);
    let error = optimizer.load_state(&state).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint(CheckpointError::StateMismatch { name, .. }) if name == "a.step"));
    assert!(error.to_string().contains("-5"), "{error}");
    assert_eq!(state_of(&*optimizer).last().unwrap().1.int64_value(&[0]), 1);
}
