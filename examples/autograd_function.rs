//! An autograd function of your own: Swish, y = x·σ(x), which saves only x for its backward pass where libtorch's
//! operations save x, σ(x) and more.
//!
//!     cargo run --example autograd_function
//!
//! Expect the largest difference between its gradient and that of libtorch's operations, about 1e-15, and libtorch's
//! message where a second derivative is requested.

use clap::Parser;
use densenet::Result;
use densenet::tch::{Device, Kind, Tensor};
use densenet::torch::{Forward, Function};
use std::io::{self, Write};

struct Swish;

impl Function for Swish {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let x = &inputs[0];
        Ok(Forward { outputs: vec![x * x.sigmoid()], saved: vec![x.shallow_clone()] })
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let x = &saved[0];
        let sigmoid = x.sigmoid();
        // dy/dx = σ + x·σ·(1 − σ)
        let slope = &sigmoid + x * &sigmoid * (1.0 - &sigmoid);
        Ok(gradients.into_iter().map(|gradient| Some(gradient? * &slope)).collect())
    }
}

fn swish(x: &Tensor) -> Result<Tensor> {
    Ok(Swish.apply(&[x])?.remove(0))
}

/// Compare an autograd function of your own with libtorch's operations
#[derive(Parser)]
struct Args {}

fn main() -> Result<()> {
    Args::parse();
    // Errors are ignored, such as a closed pipe to `head`.
    let mut out = io::stdout();
    let x = Tensor::linspace(-6.0, 6.0, 1001, (Kind::Double, Device::Cpu)).set_requires_grad(true);
    let gradient = |y: &Tensor, create_graph| {
        Tensor::run_backward(&[y.square().sum(Kind::Double)], &[&x], false, create_graph).remove(0)
    };

    let ours = gradient(&swish(&x)?, false);
    let reference = gradient(&(&x * x.sigmoid()), false);
    let difference = (ours - reference).abs().max().double_value(&[]);
    let _ = writeln!(out, "the gradients differ by {difference:e}");
    assert!(difference < 1e-14);

    let first = gradient(&swish(&x)?, true);
    let refused = first.sum(Kind::Double).f_backward().unwrap_err();
    let _ = writeln!(out, "{refused}");
    Ok(())
}
