//! Tests of dropout within dense blocks.

use super::support::{
    BACKENDS, LAYER_KINDS, Pass, alone, assert_equal, built, freeze, is_in, numbers, reference, run_on,
};
use crate::nn::fused::Engine;
use crate::nn::{
    DenseBlockConfig, Dropout, DropoutPlace, Features, ForwardContext, LayerKind, Memory, Mode, Statistics,
};
use tch::Kind;

const PLACES: [DropoutPlace; 2] = [DropoutPlace::LayerOutput, DropoutPlace::EveryConv];

fn config(kind: LayerKind, place: DropoutPlace) -> DenseBlockConfig {
    let config = DenseBlockConfig::new(5, 3).with_growth_rate(4).with_layer_kind(kind);
    config.with_conv_bias().with_dropout(Dropout { place, ..Dropout::new(0.3) })
}

#[test]
fn the_given_share_is_dropped_and_statistics_come_after() {
    let config = DenseBlockConfig::new(4, 3).with_growth_rate(8).with_layer_kind(LayerKind::Plain);
    let (_vs, block) = built(&config.with_dropout(Dropout::new(0.25)), Kind::Float);
    let x = numbers(&[16, 4, 20, 20], 1).to_kind(Kind::Float);
    for (name, engine) in BACKENDS {
        let run = |mode| run_on(engine, &block, Features::new(x.shallow_clone()), &ForwardContext::new(mode));
        for mode in [Mode::Train, Mode::TrainFrozenNorms] {
            let zeros = |features: &Features| features.data.narrow(1, 4, 24).eq(0.0).to_kind(Kind::Float);
            let (first, second) = (run(mode), run(mode));
            // The standard deviation of a share of 153,600 values is 0.0011.
            let share = zeros(&first).mean(Kind::Float).double_value(&[]);
            assert!((share - 0.25).abs() < 0.006, "{name}, {mode:?}: {share}");
            let both = (zeros(&first) * zeros(&second)).mean(Kind::Float).double_value(&[]);
            assert!((both - 0.0625).abs() < 0.004, "{name}, {mode:?}: another mask each time, {both}");
            assert!(first.data.narrow(1, 0, 4).equal(&x), "the block's input is not dropped from");
        }
        let features = run(Mode::Train);
        let own = features.statistics.expect("batch statistics in training");
        let known = Statistics::of(&features.data.to_kind(Kind::Double), 1e-5);
        for (own, known) in [(own.mean, known.mean), (own.rstd, known.rstd)] {
            let deviation = (own.to_kind(Kind::Double) - &known).abs().max() / known.abs().max();
            assert!(deviation.double_value(&[]) < 1e-6, "{name}: {deviation}");
        }
        let [first, second] = [(); 2].map(|()| run(Mode::Eval).data);
        assert!(first.equal(&second), "{name}: nothing is dropped in evaluation");
    }
}

#[test]
fn what_is_saved_changes_no_gradient() {
    if !alone("dropout::what_is_saved_changes_no_gradient") {
        return;
    }
    for (kind, place) in LAYER_KINDS.iter().flat_map(|kind| PLACES.map(|place| (*kind, place))) {
        let (vs, block) = built(&config(kind, place), Kind::Double);
        let x = numbers(&[3, 5, 6, 7], 2);
        for (name, engine) in BACKENDS {
            let [kept, again] = [Memory::Keep, Memory::Recompute].map(|memory| {
                tch::manual_seed(11);
                let ctx = ForwardContext::new(Mode::Train).with_memory(memory);
                Pass::of(&vs, &x, &|x| run_on(engine, &block, x, &ctx))
            });
            // The kernels repeat every bit; libtorch's dropout multiplies where its backward pass divides.
            let tolerance = if engine == Engine::CpuKernels { 0.0 } else { 1e-12 };
            assert_equal(&again, &kept, tolerance, &format!("{name}, {kind:?}, {place:?}"));
        }
    }
}

#[test]
fn tensor_operations_drop_what_libtorch_drops() {
    if !alone("dropout::tensor_operations_drop_what_libtorch_drops") {
        return;
    }
    for (kind, place) in LAYER_KINDS.iter().flat_map(|kind| PLACES.map(|place| (*kind, place))) {
        let (vs, block) = built(&config(kind, place), Kind::Double);
        let x = numbers(&[3, 5, 6, 7], 2);
        let ctx = ForwardContext::new(Mode::Train);
        // The same generator draws the same masks.
        tch::manual_seed(11);
        let expected = Pass::of(&vs, &x, &|x| reference(&block, x, &ctx));
        tch::manual_seed(11);
        let own = Pass::of(&vs, &x, &|x| run_on(Engine::TensorOperations, &block, x, &ctx));
        assert_equal(&own, &expected, 1e-11, &format!("{kind:?}, {place:?}"));
    }
}

#[test]
fn freezing_variables_changes_no_other_gradient() {
    if !alone("dropout::freezing_variables_changes_no_other_gradient") {
        return;
    }
    let config = config(LayerKind::Bottleneck { factor: 2 }, DropoutPlace::EveryConv);
    for (name, engine) in BACKENDS {
        let gradients = |frozen: &[&str], memory| {
            let (vs, block) = built(&config, Kind::Double);
            freeze(&vs, frozen);
            let ctx = ForwardContext::new(Mode::Train).with_memory(memory);
            tch::manual_seed(11);
            Pass::of(&vs, &numbers(&[3, 5, 6, 7], 2), &|x| run_on(engine, &block, x, &ctx))
        };
        let all = gradients(&[], Memory::Keep);
        for frozen in [
            &["conv1"][..],
            &["norm1"],
            &["norm2", "denselayer1"],
            &["denselayer2"],
            // Gradients end at the last convolution of each layer.
            &["norm", "conv1"],
            &["denselayer1", "denselayer2", "norm", "conv1"],
        ] {
            for memory in [Memory::Keep, Memory::Recompute] {
                let own = gradients(frozen, memory);
                for (variable, own, all) in own.pairs(&all).filter(|(variable, ..)| !is_in(variable, frozen)) {
                    let deviation = (own - all).abs().max().double_value(&[]);
                    assert!(deviation < 1e-9, "{name}: {frozen:?} {memory:?} {variable}: {deviation}");
                }
            }
        }
    }
}
