//! A block's gradients beside slopes, whatever is dropped and whatever is kept.

use super::block::{Layer, Stage};
use super::block_backward::{Arriving, Gradients, LayerNeeds, Left, Needs, StageNeeds, backward};
use super::block_forward::{Made, forward};
use crate::kernels::DropMask;
use crate::nn::Memory;
use tch::{Kind, Tensor};

fn values(size: &[i64], salt: f64) -> Tensor {
    (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, tch::Device::Cpu)) * 1.7 + salt).sin().view(size)
}

fn stage(inputs: i64, outputs: i64, kernel: i64, salt: f64) -> Stage {
    Stage {
        gamma: values(&[inputs], salt + 1.0) + 1.5,
        beta: values(&[inputs], salt + 2.0),
        weight: values(&[outputs, inputs, kernel, kernel], salt + 3.0),
        bias: Some(values(&[outputs], salt + 4.0)),
        dropped: Some(DropMask::new(salt as u64, 0.3)),
    }
}

fn run(x: &Tensor, layers: &[Layer], memory: Memory) -> Made {
    forward::<f64>(x, None, layers, 1e-5, memory).unwrap()
}

fn gradients(made: &Made, layers: &[Layer], projection: &Tensor) -> Gradients {
    let arriving = Arriving { features: Some(projection.shallow_clone()), mean: None, rstd: None };
    let all = StageNeeds { norm: true, weight: true, bias: true };
    let of_layer = |layer: &Layer| LayerNeeds { reader: all, inner: layer.inner.as_ref().map(|_| all) };
    let needs = Needs { input: true, layers: layers.iter().map(of_layer).collect() };
    let groups: Vec<_> = layers.iter().map(|layer| layer.groups(&made.features)).collect();
    let left = Left {
        features: &made.features,
        statistics: &made.statistics,
        given: false,
        layers,
        inner: &made.inner,
        groups: &groups,
    };
    backward::<f64>(&left, arriving, &needs).unwrap()
}

#[test]
fn gradients_with_dropout_are_slopes() {
    let plain = [0, 1, 2].map(|l| Layer { reader: stage(2 + 3 * l, 3, 3, 10.0 * l as f64), inner: None });
    let bottleneck = [0, 1, 2].map(|l| Layer {
        reader: stage(2 + 3 * l, 4, 1, 10.0 * l as f64),
        inner: Some(stage(4, 3, 3, 10.0 * l as f64 + 5.0)),
    });
    let x = values(&[2, 2, 3, 4], 5.0);
    let projection = values(&[2, 11, 3, 4], 6.0);
    for layers in [&plain, &bottleneck] {
        let value = || {
            let made = run(&x, layers, Memory::Keep);
            (made.features * &projection).sum(Kind::Double).double_value(&[])
        };
        let made = run(&x, layers, Memory::Keep);
        assert!(made.features.narrow(1, 2, 9).eq(0.0).any().int64_value(&[]) == 1, "something is dropped");
        let gradients = gradients(&made, layers, &projection);
        let mut pairs = vec![(&x, gradients.x.unwrap())];
        let stages = layers.iter().flat_map(|layer| [Some(&layer.reader), layer.inner.as_ref()]).flatten();
        for (stage, gradient) in stages.zip(gradients.stages) {
            let bias = stage.bias.as_ref().unwrap();
            let gradients = [gradient.gamma, gradient.beta, gradient.weight, gradient.bias].map(Option::unwrap);
            pairs.extend([&stage.gamma, &stage.beta, &stage.weight, bias].into_iter().zip(gradients));
        }
        for (tensor, gradient) in pairs {
            let (values, gradient) = (tensor.view(-1), gradient.contiguous().view(-1));
            for index in 0..values.numel() as i64 {
                let mut entry = values.get(index);
                let middle = entry.double_value(&[]);
                let mut at = |moved: f64| {
                    let _ = entry.fill_(moved);
                    value()
                };
                let slope = (at(middle + 1e-5) - at(middle - 1e-5)) / 2e-5;
                at(middle);
                let own = gradient.double_value(&[index]);
                let near = (own - slope).abs() <= 1e-6 * (1.0 + slope.abs());
                assert!(near, "{tensor:?}[{index}]: {own}, slope {slope}");
            }
        }
    }
}

#[test]
fn what_is_kept_changes_no_bit() {
    let layers = [0, 1, 2].map(|l| Layer {
        reader: stage(2 + 3 * l, 8, 1, 10.0 * l as f64),
        inner: Some(stage(8, 3, 3, 10.0 * l as f64 + 5.0)),
    });
    let x = values(&[5, 2, 7, 6], 5.0);
    let projection = values(&[5, 11, 7, 6], 6.0);
    let [kept, again] = [Memory::Keep, Memory::Recompute].map(|memory| {
        let made = run(&x, &layers, memory);
        assert_eq!(made.inner.len(), if memory == Memory::Keep { 3 } else { 0 });
        gradients(&made, &layers, &projection)
    });
    assert_eq!(kept.x, again.x);
    for (kept, again) in kept.stages.iter().zip(&again.stages) {
        assert!(kept.gamma == again.gamma && kept.beta == again.beta);
        assert!(kept.weight == again.weight && kept.bias == again.bias);
    }
}
