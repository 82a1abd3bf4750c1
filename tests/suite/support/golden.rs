//! The formulas and comparisons of the golden values: `tests/fixtures/golden.py` has the same ones.

use super::variables::named_variables;
use densenet::tch::{Reduction, Tensor, nn::VarStore, no_grad};
use serde_json::Value;

/// The formula of golden.py: numbers in [-0.5, 0.5) from position and salt.
pub fn uniform(count: usize, salt: usize) -> Tensor {
    let values: Vec<f64> = (0..count as u64)
        .map(|i| {
            let x = i + salt as u64 * 1_000_003;
            let mut h = x.wrapping_mul(2_654_435_761).wrapping_add(12_345) & 0xFFFF_FFFF;
            h ^= h >> 16;
            h = (h * 73_244_475) & 0xFFFF_FFFF;
            h ^= h >> 13;
            h as f64 / (1_u64 << 32) as f64 - 0.5
        })
        .collect();
    Tensor::from_slice(&values)
}

/// Sets every variable by the formula.
pub fn fill(vs: &VarStore) {
    for (salt, mut variable) in named_variables(vs).into_iter().enumerate() {
        let shape = variable.tensor.size();
        let u = uniform(variable.tensor.numel(), salt).view(shape.as_slice());
        let name = &variable.name;
        let value = if name.ends_with("running_var") {
            u * 0.5 + 1.0
        } else if name.ends_with("running_mean") {
            u * 0.1
        } else if shape.len() > 1 {
            let fan_in: i64 = shape[1..].iter().product();
            u * (24.0 / fan_in as f64).sqrt()
        } else if name.contains("norm") && name.ends_with("weight") {
            u + 1.0
        } else {
            u * 0.2
        };
        no_grad(|| variable.tensor.copy_(&value));
    }
}

/// Not tch's `cross_entropy_for_logits`, which computes in f32 whatever it is given.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0)
}

/// Norm and projections of a tensor beside PyTorch's: the largest deviation, as a share of PyTorch's norm.
///
/// A projection is a product with numbers of variance 1/12, so a deviation of relative size d moves it by about d/√12.
pub fn deviation(own: &Tensor, golden: &Value) -> (f64, f64) {
    let flat = own.contiguous().view(-1);
    let norm = flat.norm().double_value(&[]);
    let golden_norm = golden["norm"].as_f64().expect("a number");
    let projections = golden["projections"].as_array().expect("an array");
    let moved = projections.iter().enumerate().map(|(p, golden)| {
        let own = flat.dot(&uniform(flat.numel(), 5000 + p)).double_value(&[]);
        (own - golden.as_f64().expect("a number")).abs() * 12_f64.sqrt()
    });
    let largest = moved.fold((norm - golden_norm).abs(), f64::max);
    (largest, golden_norm)
}
