//! Gradients beside finite differences.

use super::support::{BACKENDS, LAYER_KINDS, built, numbers, run_on};
use crate::nn::{DenseBlockConfig, Dropout, Features, ForwardContext, LayerKind, Mode};
use crate::torch::named_variables;
use tch::{Kind, no_grad};

fn check_slopes(kind: LayerKind, dropout: Dropout) {
    let config = DenseBlockConfig::new(2, 2).with_growth_rate(3).with_layer_kind(kind);
    for (name, engine) in BACKENDS {
        let (vs, block) = built(&config.clone().with_conv_bias().with_dropout(dropout), Kind::Double);
        // Away from the kink of the ReLU, where a norm's weight and bias are both 0 and there is no slope.
        for mut variable in named_variables(&vs).into_iter().filter(|variable| variable.name.contains("norm")) {
            let _ =
                no_grad(|| variable.tensor.g_add_scalar_(if variable.name.ends_with("weight") { 1.0 } else { 0.013 }));
        }
        let x = numbers(&[2, 2, 3, 4], 2).set_requires_grad(true);
        let ctx = ForwardContext::new(Mode::Train).with_seed(11);
        let value = || {
            let y = run_on(engine, &block, Features::new(x.shallow_clone()), &ctx).data;
            let dropped = y.narrow(1, 2, 6).eq(0.0).any().int64_value(&[]) == 1;
            assert!(dropped || dropout.rate == 0.0, "{name}: nothing was dropped");
            (&y * numbers(&y.size(), 6)).sum(Kind::Double)
        };
        value().backward();
        let variables = named_variables(&vs).into_iter().filter(|variable| variable.trainable);
        let inputs = variables.map(|variable| (variable.name, variable.tensor));
        for (variable, tensor) in inputs.chain([("input".to_owned(), x.shallow_clone())]) {
            let (gradient, size) = (tensor.grad(), tensor.size());
            // About twenty entries of each.
            for index in (0..tensor.numel()).step_by(1 + tensor.numel() / 20).map(|index| index as i64) {
                let at = |tensor: &tch::Tensor| {
                    let place = size.iter().rev().scan(index, |rest, &length| {
                        let here = *rest % length;
                        *rest /= length;
                        Some(here)
                    });
                    let place: Vec<i64> = place.collect();
                    place.iter().rev().fold(tensor.detach(), |tensor, &i| tensor.get(i))
                };
                let mut entry = at(&tensor);
                let middle = entry.double_value(&[]);
                let mut moved = |to: f64| {
                    let _ = no_grad(|| entry.fill_(to));
                    no_grad(value).double_value(&[])
                };
                // Small enough for the curvature, large enough for the rounding of f64.
                let slope = (moved(middle + 1e-5) - moved(middle - 1e-5)) / 2e-5;
                moved(middle);
                let own = at(&gradient).double_value(&[]);
                let near = (own - slope).abs() <= 1e-6 * (1.0 + slope.abs());
                assert!(near, "{name}, {kind:?}: {variable}[{index}]: {own}, slope {slope}");
            }
        }
    }
}

#[test]
fn gradients_are_slopes_with_dropout_and_without() {
    for kind in LAYER_KINDS {
        check_slopes(kind, Dropout::default());
        check_slopes(kind, Dropout::new(0.3).after_every_conv());
    }
}
