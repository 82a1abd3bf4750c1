//! Numbers that look random and are the same in every run.

use densenet::tch::{Device, Kind, Tensor};

/// Numbers in (−1, 1) by a formula, in f64: libtorch's generator is shared with the tests that run beside one.
pub fn numbers(size: &[i64], salt: i64) -> Tensor {
    let count = size.iter().product::<i64>();
    let phase = Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7 + salt as f64 * 0.37;
    (phase.sin() * 43758.5453).fmod(1.0).view(size)
}
