//! Tests of the accuracy of the backends in f32 and bf16, compared with libtorch's own operations.

use super::support::{BACKENDS, LAYER_KINDS, MODES, Pass, built, numbers, reference, run_on};
use crate::nn::fused::Engine;
use crate::nn::{DenseBlock, DenseBlockConfig, Features, ForwardContext, LayerKind, Mode, Precision};
use tch::{Device, Kind, Tensor};

/// Checks that in f32 the deviations of the kernels from f64 are at most twice those of libtorch's operations. Of the
/// tensor backend only the stand-ins run here, whose rounding says nothing of a GPU's operations.
fn check_f32(config: &DenseBlockConfig, mode: Mode, x: &Tensor) {
    let ctx = ForwardContext::new(mode);
    // The same values in both dtypes.
    let input = |kind| x.to_kind(Kind::Float).to_kind(kind);
    let (vs, block) = built(config, Kind::Float);
    let exact = {
        let (mut vs, block) = built(config, Kind::Float);
        vs.set_kind(Kind::Double);
        Pass::of(&vs, &input(Kind::Double), &|x| reference(&block, x, &ctx))
    };
    let libtorch = Pass::of(&vs, &input(Kind::Float), &|x| reference(&block, x, &ctx)).deviations(&exact);
    let own = Pass::of(&vs, &input(Kind::Float), &|x| run_on(Engine::CpuKernels, &block, x, &ctx)).deviations(&exact);
    println!("{:?}, {mode:?}: {own:?}, libtorch {libtorch:?}", config.layer_kind);
    let near = own.0 <= 2.0 * libtorch.0 && own.1 <= 2.0 * libtorch.1;
    assert!(near, "{config:?}, {mode:?}: {own:?}, libtorch {libtorch:?}");
}

#[test]
fn blocks_are_as_exact_as_the_reference_in_f32() {
    // Few enough values that rounding hardly moves one over the edge of a ReLU, which would decide the error by chance.
    for (layers, growth, size) in [(2, 10, [4, 3, 8, 8]), (4, 8, [2, 16, 11, 11])] {
        for (kind, mode) in LAYER_KINDS.iter().flat_map(|kind| MODES.map(|mode| (*kind, mode))) {
            let config = DenseBlockConfig::new(size[1] as usize, layers).with_growth_rate(growth);
            check_f32(&config.with_layer_kind(kind), mode, &numbers(&size, 1));
        }
    }
}

#[test]
fn values_far_from_zero_cost_no_more_bits_than_in_libtorch() {
    for (mean, kind) in [0.0, 100.0].into_iter().flat_map(|mean| LAYER_KINDS.map(|kind| (mean, kind))) {
        let config = DenseBlockConfig::new(16, 1).with_growth_rate(12).with_layer_kind(kind);
        // Standard deviation 1.
        check_f32(&config, Mode::Train, &(numbers(&[4, 16, 23, 23], 1) * f64::sqrt(3.0) + mean));
    }
}

#[test]
fn outliers_cost_no_more_bits_than_in_libtorch() {
    for kind in LAYER_KINDS {
        let config = DenseBlockConfig::new(16, 1).with_growth_rate(12).with_layer_kind(kind);
        // The kernels' moments begin with the first pixel of the first image, of all channels.
        let x = numbers(&[4, 16, 23, 23], 1) * 1e-3;
        let _ = x.narrow(0, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1).fill_(100.0);
        check_f32(&config, Mode::Train, &x);
    }
}

/// Output and gradients of a block in f32, of which features are bf16, as f64.
fn in_bf16(
    config: &DenseBlockConfig,
    x: &Tensor,
    ctx: &ForwardContext,
    run: impl Fn(&DenseBlock, Features) -> Features,
) -> Pass {
    let (vs, block) = built(config, Kind::Float);
    let pass = Pass::of(&vs, &x.to_kind(Kind::Float), &|x| {
        let input = Features::new(x.data.to_kind(Kind::BFloat16));
        let y = ctx.in_precision(Device::Cpu, || run(&block, input)).expect("bf16 by emulation");
        Features::new(y.data.to_kind(Kind::Float))
    });
    let trained = pass.0.into_iter().filter(|(name, _)| !name.contains("running"));
    Pass(trained.map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect())
}

#[test]
fn blocks_are_as_exact_as_autocast_in_bf16() {
    for (kind, mode) in [LayerKind::Plain, LayerKind::Bottleneck { factor: 2 }]
        .iter()
        .flat_map(|k| [Mode::Train, Mode::Eval].map(|m| (*k, m)))
    {
        let config = DenseBlockConfig::new(64, 6).with_growth_rate(32).with_layer_kind(kind);
        let seeds = 0..5;
        let mut ratios = [[1.0, 1.0]; BACKENDS.len()];
        for seed in seeds.clone() {
            // Rounded to few bits, so that bf16 represents it exactly.
            let x = (numbers(&[4, 64, 23, 23], 50 + seed) * 128.0).round() / 64.0;
            let ctx = ForwardContext::new(mode).with_precision(Precision::EmulatedBFloat16);
            let (mut vs, block) = built(&config, Kind::Float);
            vs.set_kind(Kind::Double);
            let exact = Pass::of(&vs, &x, &|x| reference(&block, x, &ForwardContext::new(mode)));
            let exact = Pass(exact.0.into_iter().filter(|(name, _)| !name.contains("running")).collect());
            let autocast = in_bf16(&config, &x, &ctx, |block, x| reference(block, x, &ctx)).deviations(&exact);
            for ((_, engine), ratios) in BACKENDS.into_iter().zip(&mut ratios) {
                let own = in_bf16(&config, &x, &ctx, |block, x| run_on(engine, block, x, &ctx)).deviations(&exact);
                assert!(own.0 > 1e-4, "{own:?} is more exact than bf16 can be");
                ratios[0] *= own.0 / autocast.0;
                ratios[1] *= own.1 / autocast.1;
            }
        }
        for ((name, _), ratios) in BACKENDS.iter().zip(ratios) {
            let [median, maximum] = ratios.map(|ratio: f64| ratio.powf(1.0 / seeds.clone().count() as f64));
            println!("{name}, {kind:?}, {mode:?}: {median:.3} and {maximum:.3} of autocast's deviation");
            // The same number of roundings, by chance in other directions.
            assert!(median <= 1.05 && maximum <= 1.05, "{name}, {kind:?}, {mode:?}: {median}, {maximum}");
        }
    }
}
