//! Gradients stay on after a panic of a user's code that the caller catches.

use crate::small_run::{fit, images};
use densenet::metrics::{BatchOutput, Direction, Metric};
use densenet::models::ModuleModel;
use densenet::predict::{PredictConfig, predict};
use densenet::tch::{Device, Kind, Tensor, nn, nn::VarStore};
use densenet::{Result, SgdConfig, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether operations are recorded on this thread.
fn gradients_are_on() -> bool {
    let x = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    (x * 2.0).requires_grad()
}

/// Runs something that panics, and turns gradients on again if they were off after it.
fn assert_on_after(what: &str, panics: impl FnOnce()) {
    assert!(gradients_are_on());
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err(), "{what} does not panic");
    assert!(gradients_are_on(), "{what}");
}

/// A linear model that may panic instead.
fn model(vs: &VarStore, panics_in_evaluation: bool) -> ModuleModel<nn::FuncT<'static>> {
    let layer = nn::linear(vs.root(), 256, 4, Default::default());
    ModuleModel(nn::func_t(move |x, train| {
        assert!(train || !panics_in_evaluation, "the model panics");
        x.flatten(1, -1).apply(&layer)
    }))
}

fn trainer(panics_in_evaluation: bool) -> Trainer<ModuleModel<nn::FuncT<'static>>> {
    let vs = VarStore::new(Device::Cpu);
    let model = model(&vs, panics_in_evaluation);
    let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
    Trainer::new(vs, model, optimizer, TrainConfig::new(1)).unwrap()
}

#[derive(Clone, Serialize, Deserialize)]
struct Panicking;

impl Metric for Panicking {
    fn name(&self) -> String {
        "panicking".to_owned()
    }

    fn direction(&self) -> Direction {
        Direction::Maximize
    }

    fn update(&mut self, _: &BatchOutput) -> Result<()> {
        panic!("the metric panics")
    }

    fn merge(&mut self, _: &Self) {}

    fn compute(&self) -> Option<f64> {
        None
    }
}

#[test]
fn gradients_are_on_after_a_panic_in_a_prediction_an_evaluation_and_a_step() {
    let data = images(8, 0);
    assert_on_after("prediction", || {
        let config = PredictConfig::default().with_device(Device::Cpu);
        let _ = predict(&model(&VarStore::new(Device::Cpu), true), &data, &config);
    });
    assert_on_after("evaluation", || drop(trainer(true).evaluate(&data)));
    assert_on_after("loss of an evaluation", || {
        let panics = |_: &Tensor, _: &Tensor| -> Tensor { panic!("the loss panics") };
        let _ = trainer(false).with_loss(panics).evaluate(&data);
    });
    assert_on_after("training step", || drop(fit(&mut trainer(false).with_metric(Panicking), &data, &data)));
}
