//! One suite for all backends of the fused engine: each computes the same as the reference.
//!
//! The tensor backend runs on the CPU here, where stand-ins take the place of the operations that libtorch has for GPUs
//! only.

mod dropout;
mod exactness;
mod slopes;
mod support;

use super::super::{DenseBlock, DenseBlockConfig, Features, ForwardContext, Memory, Mode};
use super::Engine;
use crate::torch::named_variables;
use support::{
    BACKENDS, LAYER_KINDS, MODES, Pass, assert_equal, built, fill, freeze, is_in, numbers, reference, run_on,
};
use tch::nn::VarStore;
use tch::{Device, Kind};

fn check_block(config: &DenseBlockConfig, size: [i64; 4], tolerance: f64) {
    let (vs, block) = built(config, Kind::Double);
    let x = numbers(&size, 2);
    for mode in MODES {
        let ctx = ForwardContext::new(mode);
        let expected = Pass::of(&vs, &x, &|x| reference(&block, x, &ctx));
        for (name, engine) in BACKENDS {
            for memory in [Memory::Keep, Memory::Recompute] {
                let ctx = ctx.with_memory(memory);
                let own = Pass::of(&vs, &x, &|x| run_on(engine, &block, x, &ctx));
                assert_equal(
                    &own,
                    &expected,
                    tolerance,
                    &format!("{name}, {config:?} on {size:?}, {mode:?}, {memory:?}"),
                );
            }
        }
    }
}

#[test]
fn blocks_equal_the_reference_in_f64() {
    for (layers, growth, size) in [
        (1, 1, [2, 1, 3, 3]),
        (2, 10, [4, 3, 8, 8]),
        (3, 5, [1, 7, 5, 9]),
        (4, 32, [3, 64, 11, 11]),
        (8, 3, [5, 6, 1, 2]),
    ] {
        for (kind, bias) in LAYER_KINDS.iter().flat_map(|kind| [false, true].map(|b| (*kind, b))) {
            let config = DenseBlockConfig::new(size[1] as usize, layers).with_growth_rate(growth);
            // Products and sums in another order, in f64.
            check_block(&config.with_layer_kind(kind).with_bias(bias), size, 1e-11);
        }
    }
}

#[test]
fn a_batch_computed_in_groups_is_one_batch() {
    // So large that the kernels make several groups with up to two threads, and the last one is smaller.
    for kind in [LAYER_KINDS[0], LAYER_KINDS[2]] {
        let config = DenseBlockConfig::new(64, 2).with_growth_rate(4).with_layer_kind(kind);
        let (vs, block) = built(&config, Kind::Double);
        let x = numbers(&[70, 64, 32, 32], 2);
        let ctx = ForwardContext::new(Mode::Train);
        let expected = Pass::of(&vs, &x, &|x| reference(&block, x, &ctx));
        // Only the kernels have groups; the other backend processes a batch at once.
        let own = Pass::of(&vs, &x, &|x| run_on(Engine::CpuKernels, &block, x, &ctx));
        assert_equal(&own, &expected, 1e-10, &format!("{kind:?}"));
    }
}

#[test]
fn statistics_handed_from_block_to_block_change_neither_values_nor_gradients() {
    for (kind, mode) in LAYER_KINDS.iter().flat_map(|kind| MODES.map(|mode| (*kind, mode))) {
        let config = |inputs| DenseBlockConfig::new(inputs, 2).with_growth_rate(4).with_layer_kind(kind);
        let mut vs = VarStore::new(Device::Cpu);
        let first = config(3).build(&(vs.root() / "first")).expect("a valid block");
        let second = config(11).build(&(vs.root() / "second")).expect("a valid block");
        fill(&mut vs, Kind::Double);
        let x = numbers(&[3, 3, 6, 7], 2);
        let ctx = ForwardContext::new(mode);
        let both =
            |run: &dyn Fn(&DenseBlock, Features) -> Features| Pass::of(&vs, &x, &|x| run(&second, run(&first, x)));
        let expected = both(&|block, x| reference(block, x, &ctx));
        for (name, engine) in BACKENDS {
            let own = both(&|block, x| {
                let features = run_on(engine, block, x, &ctx);
                assert_eq!(features.statistics(1e-5).is_some(), mode == Mode::Train);
                features
            });
            assert_equal(&own, &expected, 1e-10, &format!("{name}, {kind:?}, {mode:?}"));
        }
    }
}

#[test]
fn frozen_variables_get_no_gradient_and_the_others_the_same() {
    for frozen in [
        vec!["conv1.weight"],
        vec!["norm1"],
        vec!["bias"],
        vec!["denselayer2", "denselayer3.norm1"],
        vec!["denselayer1", "denselayer2"],
        vec!["denselayer1", "denselayer2.norm1", "denselayer3", "denselayer4"],
        vec!["weight"],
        vec!["norm2", "denselayer1"],
        vec!["conv2"],
        // Gradients end at the last convolution of each layer.
        vec!["norm", "conv1"],
        vec!["norm1", "conv1"],
        vec!["denselayer1.conv1", "denselayer1.norm1", "denselayer2.norm2", "denselayer2.conv1"],
    ] {
        for (input_too, kind) in [false, true].into_iter().flat_map(|input| LAYER_KINDS.map(|kind| (input, kind))) {
            let config = DenseBlockConfig::new(5, 4).with_growth_rate(3).with_layer_kind(kind);
            let (vs, block) = built(&config.with_conv_bias(), Kind::Double);
            freeze(&vs, &frozen);
            let x = numbers(&[3, 5, 6, 7], 2);
            let ctx = ForwardContext::new(Mode::Train);
            let with_input = |run: &dyn Fn(Features) -> Features, x: Features| {
                let input = if input_too { x.data.detach() } else { x.data.shallow_clone() };
                // The input gets a gradient in any case, so that `Pass` finds one.
                Features::new(run(Features::new(input)).data + x.data.sum(Kind::Double))
            };
            let expected = Pass::of(&vs, &x, &|x| with_input(&|x| reference(&block, x, &ctx), x));
            for (name, engine) in BACKENDS {
                let own = Pass::of(&vs, &x, &|x| with_input(&|x| run_on(engine, &block, x, &ctx), x));
                assert_equal(&own, &expected, 1e-11, &format!("{name}, {kind:?}, {frozen:?}, input {input_too}"));
                let without = named_variables(&vs).into_iter().filter(|variable| is_in(&variable.name, &frozen));
                assert!(without.into_iter().all(|variable| !variable.tensor.grad().defined()), "{name}, {frozen:?}");
            }
        }
    }
}
