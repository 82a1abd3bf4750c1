//! Tensors and modes that the fused engine leaves to libtorch's own operations: tracing, tensors that stand for others.

use crate::small_run::{built, net};
use densenet::error::InputError;
use densenet::models::{DenseNet, Model};
use densenet::nn::{Dropout, Execution, Features, ForwardContext, Mode, StemConfig};
use densenet::tch::{CModule, Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::torch::{Forward, Function};
use densenet::{DenseBlockConfig, DenseNetConfig, Error, TransitionBlockConfig};

const MODES: [Mode; 3] = [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval];

fn images(size: &[i64]) -> Tensor {
    let count = size.iter().product::<i64>();
    (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7).sin().to_kind(Kind::Float).view(size)
}

/// Networks with each kind of layer that has kernels of its own.
fn nets() -> [DenseNetConfig; 3] {
    [net(), net().with_plain_layers(), net().with_stem(StemConfig::imagenet())]
}

fn traced(net: &DenseNet, size: &[i64], ctx: &ForwardContext) -> CModule {
    let mut forward = |inputs: &[Tensor]| vec![net.forward(&inputs[0], ctx).unwrap()];
    CModule::create_by_tracing("net", "forward", &[images(size)], &mut forward).unwrap()
}

fn assert_close(own: &Tensor, expected: &Tensor, what: &str) {
    let error = (own - expected).abs().max().double_value(&[]);
    // Two orders of the sums of a few hundred f32.
    assert!(error <= 1e-5 * expected.abs().max().double_value(&[]), "{what}: {error}");
}

#[test]
fn a_traced_network_gives_what_the_network_gives_also_for_other_batches() {
    let (size, other) = ([2, 1, 64, 64], [5, 1, 80, 64]);
    for (config, mode) in nets().iter().flat_map(|config| MODES.map(|mode| (config, mode))) {
        for execution in [Execution::Auto, Execution::Fused, Execution::Reference] {
            let ctx = ForwardContext::new(mode).with_execution(execution);
            let (mut vs, net) = built(config);
            vs.freeze();
            let module = traced(&net, &size, &ctx);
            for size in [size, other] {
                let x = images(&size) * 0.5 + 0.1;
                let expected = net.forward(&x, &ctx.with_execution(Execution::Reference)).unwrap();
                let given = no_grad(|| module.forward_ts(&[x]).unwrap());
                assert_close(&given, &expected, &format!("{config:?}, {mode:?}, {execution:?}, {size:?}"));
            }
        }
    }
}

#[test]
fn a_traced_network_in_training_draws_its_dropout_in_each_pass() {
    let (mut vs, net) = built(&net().with_dropout(Dropout::new(0.5)));
    vs.freeze();
    let module = traced(&net, &[2, 1, 16, 16], &ForwardContext::new(Mode::TrainFrozenNorms));
    let x = images(&[3, 1, 16, 16]);
    let [first, second] = [(); 2].map(|()| module.forward_ts(&[&x]).unwrap());
    assert_ne!(first, second);
    let module = traced(&net, &[2, 1, 16, 16], &ForwardContext::new(Mode::Eval));
    let [first, second] = [(); 2].map(|()| module.forward_ts(&[&x]).unwrap());
    assert_eq!(first, second);
}

#[test]
fn variables_that_cannot_be_traced_are_an_error_that_names_the_remedy() {
    let (_vs, net) = built(&net());
    let ctx = ForwardContext::new(Mode::Eval);
    let mut errors = Vec::new();
    let mut forward = |inputs: &[Tensor]| {
        errors.extend(net.forward(&inputs[0], &ctx).err());
        vec![inputs[0].shallow_clone()]
    };
    CModule::create_by_tracing("net", "forward", &[images(&[2, 1, 16, 16])], &mut forward).unwrap();
    assert!(matches!(errors[..], [Error::Input(InputError::TracedVariables)]), "{errors:?}");
    assert!(errors[0].to_string().contains("VarStore::freeze"));
}

/// x², with a gradient of its own.
struct Square;

impl Function for Square {
    fn forward(&mut self, inputs: &[Tensor]) -> densenet::Result<Forward> {
        Ok(Forward { outputs: vec![&inputs[0] * &inputs[0]], saved: vec![inputs[0].shallow_clone()] })
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        _needs: &[bool],
    ) -> densenet::Result<Vec<Option<Tensor>>> {
        Ok(gradients.into_iter().map(|gradient| Some(gradient? * &saved[0] * 2.0)).collect())
    }
}

#[test]
fn a_function_of_tensor_operations_is_traced_as_these() {
    let mut forward = |inputs: &[Tensor]| vec![Square.apply(&[&inputs[0]]).unwrap().remove(0) + 1.0];
    let module = CModule::create_by_tracing("square", "forward", &[images(&[2, 3])], &mut forward).unwrap();
    let x = images(&[5, 7]) * 3.0;
    assert_eq!(module.forward_ts(&[&x]).unwrap(), &x * &x + 1.0);
}

#[test]
fn tensors_that_stand_for_others_give_the_outputs_of_those() {
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(3, 2).with_growth_rate(4).build(&(vs.root() / "block")).unwrap();
    let transition = TransitionBlockConfig::new(11, 5).build(&(vs.root() / "transition")).unwrap();
    // Channels last in memory, so that the engine need not copy it.
    let x = images(&[2, 6, 8, 3]).permute([0, 3, 1, 2]);
    let zeros = Tensor::internal_efficientzerotensor([2, 3, 6, 8], (Kind::Float, Device::Cpu));
    let cases = [
        ("negated", x.internal_neg_view(), -&x),
        ("zeros without memory", zeros, x.zeros_like()),
        ("expanded", x.narrow(1, 0, 1).expand([2, 3, 6, 8], false), x.narrow(1, 0, 1).repeat([1, 3, 1, 1])),
    ];
    for (name, given, plain) in cases {
        for mode in MODES {
            let run = |x: &Tensor, execution| {
                let ctx = ForwardContext::new(mode).with_execution(execution);
                let features = block.forward(Features::new(x.shallow_clone()), &ctx).unwrap();
                transition.forward(&features, &ctx).unwrap().data
            };
            assert_close(&run(&given, Execution::Fused), &run(&plain, Execution::Reference), name);
        }
    }
}

#[test]
fn an_undefined_tensor_is_an_error_in_every_part() {
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(1, 2).build(&(vs.root() / "block")).unwrap();
    let transition = TransitionBlockConfig::new(1, 5).build(&(vs.root() / "transition")).unwrap();
    for execution in [Execution::Fused, Execution::Reference] {
        let ctx = ForwardContext::new(Mode::Eval).with_execution(execution);
        let undefined = || Features::new(Tensor::new());
        for result in [block.forward(undefined(), &ctx), transition.forward(&undefined(), &ctx)] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Input(InputError::IncompatibleTensor { .. })), "{error}");
        }
    }
}

#[test]
fn inputs_of_another_dtype_or_layout_are_errors_that_name_both() {
    let (_vs, net) = built(&net());
    let vs = VarStore::new(Device::Cpu);
    let block = DenseBlockConfig::new(1, 2).with_growth_rate(4).build(&(vs.root() / "block")).unwrap();
    let transition = TransitionBlockConfig::new(1, 5).build(&(vs.root() / "transition")).unwrap();
    let x = images(&[2, 1, 16, 16]);
    let kinds = [Kind::Int64, Kind::Uint8, Kind::Bool, Kind::Half, Kind::BFloat16, Kind::Double, Kind::ComplexFloat];
    let mut inputs: Vec<_> = kinds.iter().map(|&kind| (format!("{kind:?} on cpu"), x.to_kind(kind))).collect();
    let special = "Float on cpu that is sparse, quantized or opaque";
    inputs.push((special.to_owned(), x.to_sparse(None, None::<i64>, None)));
    inputs.push((special.to_owned(), x.to_mkldnn()));
    inputs.push(("QUInt8 on cpu".to_owned(), x.quantize_per_tensor(0.1, 0, Kind::QUInt8)));
    for (name, x) in &inputs {
        for (mode, execution) in
            MODES.into_iter().flat_map(|mode| [(mode, Execution::Fused), (mode, Execution::Reference)])
        {
            let ctx = ForwardContext::new(mode).with_execution(execution);
            let features = || Features::new(x.shallow_clone());
            let results = [
                net.forward(x, &ctx),
                net.forward_features(x, &ctx),
                block.forward(features(), &ctx).map(|features| features.data),
                transition.forward(&features(), &ctx).map(|features| features.data),
            ];
            for result in results {
                let error = result.unwrap_err();
                assert!(matches!(error, Error::Input(InputError::IncompatibleTensor { .. })), "{error}");
                let text = error.to_string();
                assert!(text.contains(name) && text.contains("Float on cpu, as the variables are"), "{text}");
            }
        }
    }
}
