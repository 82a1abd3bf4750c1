//! Tests of dropout within dense blocks.

use super::support::{BACKENDS, LAYER_KINDS, Pass, assert_equal, built, freeze, is_in, numbers, reference, run_on};
use crate::nn::dropout::DropoutPlace;
use crate::nn::{DenseBlockConfig, Dropout, Features, ForwardContext, LayerKind, Memory, Mode, Statistics};
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

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
        let run = |mode, seed| {
            let ctx = ForwardContext::new(mode).with_seed(seed);
            run_on(engine, &block, Features::new(x.shallow_clone()), &ctx)
        };
        for mode in [Mode::Train, Mode::TrainFrozenNorms] {
            let zeros = |features: &Features| features.data.narrow(1, 4, 24).eq(0.0).to_kind(Kind::Float);
            let (first, second) = (run(mode, 1), run(mode, 2));
            // The standard deviation of a share of 153,600 values is 0.0011.
            let share = zeros(&first).mean(Kind::Float).double_value(&[]);
            assert!((share - 0.25).abs() < 0.006, "{name}, {mode:?}: {share}");
            let both = (zeros(&first) * zeros(&second)).mean(Kind::Float).double_value(&[]);
            assert!((both - 0.0625).abs() < 0.004, "{name}, {mode:?}: another mask for each seed, {both}");
            assert!(first.data.narrow(1, 0, 4).equal(&x), "the block's input is not dropped from");
        }
        let features = run(Mode::Train, 1);
        let own = features.statistics(1e-5).expect("batch statistics in training");
        let known = Statistics::of(&features.data.to_kind(Kind::Double), 1e-5);
        for (own, known) in [(&own.mean, known.mean), (&own.rstd, known.rstd)] {
            let deviation = (own.to_kind(Kind::Double) - &known).abs().max() / known.abs().max();
            assert!(deviation.double_value(&[]) < 1e-6, "{name}: {deviation}");
        }
        let [first, second] = [1, 2].map(|seed| run(Mode::Eval, seed).data);
        assert!(first.equal(&second), "{name}: nothing is dropped in evaluation");
    }
}

#[test]
fn what_is_saved_changes_no_gradient() {
    for (kind, place) in LAYER_KINDS.iter().flat_map(|kind| PLACES.map(|place| (*kind, place))) {
        let (vs, block) = built(&config(kind, place), Kind::Double);
        let x = numbers(&[3, 5, 6, 7], 2);
        for (name, engine) in BACKENDS {
            let [kept, again] = [Memory::Keep, Memory::Recompute].map(|memory| {
                let ctx = ForwardContext::new(Mode::Train).with_seed(11).with_memory(memory);
                Pass::of(&vs, &x, &|x| run_on(engine, &block, x, &ctx))
            });
            assert_equal(&again, &kept, 0.0, &format!("{name}, {kind:?}, {place:?}"));
        }
    }
}

#[test]
fn all_executions_drop_the_same_values() {
    let dropped = |pass: &Pass| pass.0[0].1.eq(0.0);
    for (kind, place) in LAYER_KINDS.iter().flat_map(|kind| PLACES.map(|place| (*kind, place))) {
        let (vs, block) = built(&config(kind, place), Kind::Double);
        let x = numbers(&[3, 5, 6, 7], 2);
        for mode in [Mode::Train, Mode::TrainFrozenNorms] {
            let ctx = ForwardContext::new(mode).with_seed(11);
            let expected = Pass::of(&vs, &x, &|x| reference(&block, x, &ctx));
            for (name, engine) in BACKENDS {
                let own = Pass::of(&vs, &x, &|x| run_on(engine, &block, x, &ctx));
                let what = format!("{name}, {kind:?}, {place:?}, {mode:?}");
                assert!(dropped(&own).equal(&dropped(&expected)), "{what}");
                // As without dropout: products and sums in another order, in f64.
                assert_equal(&own, &expected, 1e-11, &what);
            }
        }
    }
}

#[test]
fn convolutions_drop_different_values_and_a_large_batch_drops_what_its_first_images_drop() {
    let config = DenseBlockConfig::new(64, 3).with_growth_rate(8).with_layer_kind(LayerKind::Plain);
    let (_vs, block) = built(&config.with_dropout(Dropout::new(0.5)), Kind::Float);
    let ctx = ForwardContext::new(Mode::TrainFrozenNorms).with_seed(3);
    // So large that the kernels make several groups, which the mask does not depend on.
    let x = numbers(&[70, 64, 32, 32], 1).to_kind(Kind::Float);
    let masks = |x: &Tensor, layer: i64| {
        let run = |of: &dyn Fn(Features) -> Features| of(Features::new(x.shallow_clone())).data;
        let expected = run(&|x| reference(&block, x, &ctx)).narrow(1, 64 + 8 * layer, 8).eq(0.0);
        for (name, engine) in BACKENDS {
            let own = run(&|x| run_on(engine, &block, x, &ctx)).narrow(1, 64 + 8 * layer, 8).eq(0.0);
            assert!(own.equal(&expected), "{name}, layer {layer}");
        }
        expected
    };
    let [first, second, third] = [0, 1, 2].map(|layer| masks(&x, layer));
    for (a, b) in [(&first, &second), (&first, &third), (&second, &third)] {
        // The standard deviation of a share of 573,440 values is 0.0007.
        let same = a.eq_tensor(b).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((same - 0.5).abs() < 0.004, "{same}");
    }
    assert!(masks(&x.narrow(0, 0, 3), 1).equal(&second.narrow(0, 0, 3)));
}

#[test]
fn a_module_of_tch_drops_other_values_each_time() {
    let config = DenseBlockConfig::new(4, 1).with_growth_rate(8).with_dropout(Dropout::new(0.5));
    let (_vs, block) = built(&config, Kind::Float);
    let x = numbers(&[4, 4, 8, 8], 1).to_kind(Kind::Float);
    let [first, second] = [true, true].map(|train| block.forward_t(&x, train).narrow(1, 4, 8).eq(0.0));
    assert!(!first.equal(&second));
    let [first, second] = [false, false].map(|train| block.forward_t(&x, train));
    assert!(first.equal(&second));
}

#[test]
fn freezing_variables_changes_no_other_gradient() {
    let config = config(LayerKind::Bottleneck { factor: 2 }, DropoutPlace::EveryConv);
    for (name, engine) in BACKENDS {
        let gradients = |frozen: &[&str], memory| {
            let (vs, block) = built(&config, Kind::Double);
            freeze(&vs, frozen);
            let ctx = ForwardContext::new(Mode::Train).with_seed(11).with_memory(memory);
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
