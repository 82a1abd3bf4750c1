//! Autograd functions written in Rust: their gradients, what they refuse, and what they keep.

use crate::memory::memory_mib;
use crate::numbers::numbers;
use densenet::error::DataError;
use densenet::tch::{Device, Kind, TchError, Tensor, no_grad};
use densenet::torch::{Forward, Function};
use densenet::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn variable(shape: &[i64], salt: i64) -> Tensor {
    numbers(shape, salt).set_requires_grad(true)
}

/// `y = tanh(x·w + b)` and `s = Σ x²` of each row. Keeps an input, an output and an intermediate result.
struct Layer;

impl Layer {
    /// The same by libtorch's own operations.
    fn composed(inputs: &[Tensor]) -> Vec<Tensor> {
        let [x, w, b] = inputs else { panic!("three inputs") };
        vec![(x.matmul(w) + b).tanh(), x.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double)]
    }
}

impl Function for Layer {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let outputs = Layer::composed(inputs);
        let slope = 1.0 - outputs[0].square();
        Ok(Forward { saved: vec![inputs[0].shallow_clone(), inputs[1].shallow_clone(), slope], outputs })
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, w, slope) = (&saved[0], &saved[1], &saved[2]);
        let inner = gradients[0].as_ref().map(|gradient| gradient * slope);
        let through_y = inner.as_ref().map(|inner| inner.matmul(&w.tr()));
        let through_s = gradients[1].as_ref().map(|gradient| x * gradient.unsqueeze(1) * 2.0);
        let of_x = match (through_y, through_s) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        let of_w = inner.as_ref().filter(|_| needs[1]).map(|inner| x.tr().matmul(inner));
        let of_b =
            inner.filter(|_| needs[2]).map(|inner| inner.sum_dim_intlist([0i64].as_slice(), false, Kind::Double));
        Ok(vec![of_x, of_w, of_b])
    }
}

fn layer_inputs() -> Vec<Tensor> {
    vec![variable(&[5, 4], 0), variable(&[4, 3], 1), variable(&[3], 2)]
}

/// A number that depends on all values of all outputs.
fn project(outputs: &[Tensor]) -> Tensor {
    let parts = outputs.iter().enumerate();
    parts.map(|(i, y)| (y * numbers(&y.size(), 3 + i as i64)).sum(Kind::Double)).sum()
}

fn gradients(of: &Tensor, inputs: &[Tensor]) -> Vec<Tensor> {
    Tensor::run_backward(&[of], inputs, true, false)
}

fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let scale = theirs.abs().max().double_value(&[]);
    let error = (ours - theirs).abs().max().double_value(&[]);
    assert!(error <= tolerance * scale, "{what}: {error} of {scale}");
}

fn references(inputs: &[Tensor]) -> Vec<&Tensor> {
    inputs.iter().collect()
}

#[test]
fn gradients_are_those_of_the_composition() {
    let inputs = layer_inputs();
    let ours = gradients(&project(&Layer.apply(&references(&inputs)).unwrap()), &inputs);
    let theirs = gradients(&project(&Layer::composed(&inputs)), &inputs);
    assert_eq!(ours.len(), theirs.len());
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // A few roundings of f64.
        assert_close(ours, theirs, 1e-14, &format!("gradient of input {i}"));
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let inputs = layer_inputs();
    let value = |inputs: &[Tensor]| project(&Layer.apply(&references(inputs)).unwrap()).double_value(&[]);
    let exact = gradients(&project(&Layer.apply(&references(&inputs)).unwrap()), &inputs);
    for (which, exact) in exact.iter().enumerate() {
        for element in 0..exact.numel() as i64 {
            let moved = |by: f64| {
                let inputs: Vec<Tensor> = inputs.iter().map(|input| input.detach().copy()).collect();
                let _ = inputs[which].view(-1).get(element).g_add_scalar_(by);
                value(&inputs)
            };
            let h = 1e-5;
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let gradient = exact.reshape(-1).double_value(&[element]);
            // h² of the third derivative, and 1e-16 / h of rounding.
            assert!((difference - gradient).abs() < 1e-8, "input {which}, {element}: {difference} and {gradient}");
        }
    }
}

#[test]
fn an_unused_output_has_no_gradient() {
    let inputs = layer_inputs();
    for used in 0..2 {
        let one = |outputs: Vec<Tensor>| project(&outputs[used..=used]);
        let ours = Tensor::run_backward(&[one(Layer.apply(&references(&inputs)).unwrap())], &inputs[..1], false, false);
        let theirs = Tensor::run_backward(&[one(Layer::composed(&inputs))], &inputs[..1], false, false);
        assert_close(&ours[0], &theirs[0], 1e-14, "gradient of x");
    }
}

#[test]
fn none_stands_for_an_output_gradient_that_is_missing() {
    let probe = Probe {
        forward: |x| Ok(Forward { outputs: vec![&x[0] * 1.0, &x[0] * 2.0, &x[0] * 3.0], saved: vec![] }),
        backward: |_, gradients| {
            let arrived: Vec<bool> = gradients.iter().map(Option::is_some).collect();
            assert_eq!(arrived, [false, true, false]);
            Ok(vec![None])
        },
        ..Probe::new(&Arc::default())
    };
    let x = variable(&[3], 0);
    probe.apply(&[&x]).unwrap()[1].sum(Kind::Double).f_backward().unwrap();
    assert!(!x.grad().defined(), "none is given back either");
}

/// Counts itself.
#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Backward = fn(Vec<Tensor>, Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>>;

/// Twice each input, and records of which inputs a gradient is wanted. The passes can be exchanged.
struct Probe {
    counted: Counted,
    wanted: Arc<Mutex<Vec<Vec<bool>>>>,
    forward: fn(&[Tensor]) -> Result<Forward>,
    backward: Backward,
    differentiable: fn(usize) -> bool,
}

impl Probe {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        Probe {
            counted: Counted::new(alive),
            wanted: Arc::default(),
            forward: |inputs| {
                let outputs: Vec<Tensor> = inputs.iter().map(|input| input * 2.0).collect();
                Ok(Forward { outputs, saved: inputs.iter().map(Tensor::shallow_clone).collect() })
            },
            backward: |_, gradients| Ok(gradients.into_iter().map(|gradient| Some(gradient? * 2.0)).collect()),
            differentiable: |_| true,
        }
    }

    fn with_backward(backward: Backward) -> Self {
        Probe { backward, ..Probe::new(&Arc::default()) }
    }
}

impl Function for Probe {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        assert_eq!(self.counted.0.load(Ordering::SeqCst), 1);
        (self.forward)(inputs)
    }

    fn is_differentiable(&self, output: usize) -> bool {
        (self.differentiable)(output)
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        self.wanted.lock().unwrap().push(needs.to_vec());
        (self.backward)(saved, gradients)
    }
}

fn an_error<T>() -> Result<T> {
    Err(Error::Data(DataError::IndexOutOfRange { index: 7654, len: 1 }))
}

/// The sum of a probe's output for a trained input.
fn probed(probe: Probe) -> Tensor {
    probe.apply(&[&variable(&[3], 0)]).unwrap()[0].sum(Kind::Double)
}

fn message(result: Result<(), TchError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn errors_and_panics_of_the_forward_pass_are_returned() {
    let x = variable(&[3], 0);
    let failing = |forward| {
        let alive = Arc::default();
        let error = Probe { forward, ..Probe::new(&alive) }.apply(&[&x]).unwrap_err();
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the function is dropped");
        error
    };
    assert!(matches!(failing(|_| an_error()), Error::Data(DataError::IndexOutOfRange { index: 7654, .. })));
    let text = failing(|_| panic!("lost at sea")).to_string();
    assert!(text.contains("Probe") && text.contains("panicked") && text.contains("lost at sea"), "{text}");
    // tch's own operations panic where sizes do not fit.
    let text =
        failing(|inputs| Ok(Forward { outputs: vec![inputs[0].matmul(&inputs[0].view([1, 3]))], saved: vec![] }));
    assert!(text.to_string().contains("cannot be multiplied"), "{text}");
    assert!((&x * 2.0).requires_grad(), "gradients are on again");
}

#[test]
fn errors_and_panics_of_the_backward_pass_are_returned_by_libtorch() {
    let failing = |backward| message(probed(Probe::with_backward(backward)).f_backward());
    let text = failing(|_, _| an_error());
    assert!(text.contains("no sample 7654") && text.contains("backward pass of") && text.contains("Probe"), "{text}");
    assert_eq!(text.lines().count(), 1, "without a stack of addresses: {text}");
    let text = failing(|_, _| panic!("lost at sea, {}", 3));
    assert!(text.contains("lost at sea, 3"), "{text}");
    let text = failing(|_, gradients| Ok(vec![Some(gradients[0].as_ref().unwrap().view([7]))]));
    assert!(text.contains("invalid for input of size 3"), "{text}");
}

#[test]
fn gradients_of_wrong_number_or_shape_are_refused() {
    let text = message(probed(Probe::with_backward(|_, _| Ok(vec![None, None]))).f_backward());
    assert!(text.contains("2 gradients") && text.contains("1 input"), "{text}");
    let wrong = |_, _| Ok(vec![Some(Tensor::zeros([4], (Kind::Double, Device::Cpu)))]);
    let text = message(probed(Probe::with_backward(wrong)).f_backward());
    assert!(text.contains("invalid gradient at index 0"), "{text}");
}

#[test]
fn an_undefined_input_or_output_is_an_error() {
    let x = variable(&[3], 0);
    let forward = |_: &[Tensor]| Ok(Forward { outputs: vec![Tensor::new()], saved: vec![] });
    for (inputs, probe) in [
        (vec![&x], Probe { forward, ..Probe::new(&Arc::default()) }),
        (
            vec![&x, &Tensor::new()],
            Probe {
                forward: |x| Ok(Forward { outputs: vec![&x[0] + 1.0], saved: vec![] }),
                ..Probe::new(&Arc::default())
            },
        ),
    ] {
        let text = probe.apply(&inputs).unwrap_err().to_string();
        assert!(text.contains("undefined"), "{text}");
    }
}

#[test]
fn a_second_derivative_is_refused_and_the_first_is_not() {
    let inputs = layer_inputs();
    let value = project(&Layer.apply(&references(&inputs)).unwrap());
    let first = Tensor::f_run_backward(&[value], &inputs, true, true).unwrap();
    let theirs = gradients(&project(&Layer::composed(&inputs)), &inputs);
    assert_close(&first[0], &theirs[0], 1e-14, "gradient of x");
    // In a sum with something that has a second derivative nothing is left out silently.
    let penalty = first[0].square().sum(Kind::Double) + inputs[0].square().sum(Kind::Double);
    let text = message(penalty.f_backward());
    assert!(text.contains("no second derivative") && text.contains("Layer"), "{text}");
}

#[test]
fn a_gradient_is_wanted_only_of_inputs_that_need_one() {
    let (trained, frozen) = (variable(&[3], 0), numbers(&[3], 1));
    let other = variable(&[3], 2);
    let probe = Probe::new(&Arc::default());
    let wanted = probe.wanted.clone();
    let outputs = probe.apply(&[&trained, &frozen, &other]).unwrap();
    let sum: Tensor = outputs.iter().map(|y| y.sum(Kind::Double)).sum();
    let _ = Tensor::run_backward(&[&sum], &[&other], true, false);
    sum.backward();
    assert_eq!(*wanted.lock().unwrap(), [vec![false, false, true], vec![true, false, true]]);
    assert!(!frozen.grad().defined());
    assert_eq!(trained.grad(), trained.full_like(2.0));
}

#[test]
fn marked_outputs_and_integers_carry_no_gradient() {
    let x = variable(&[3], 0);
    let probe = Probe {
        forward: |x| Ok(Forward { outputs: vec![&x[0] * 2.0, &x[0] * 3.0, x[0].argmax(0, false)], saved: vec![] }),
        backward: |_, gradients| Ok(gradients.into_iter().take(1).map(|gradient| Some(gradient? * 2.0)).collect()),
        differentiable: |output| output != 1,
        ..Probe::new(&Arc::default())
    };
    let outputs = probe.apply(&[&x]).unwrap();
    assert_eq!(outputs.iter().map(Tensor::requires_grad).collect::<Vec<_>>(), [true, false, false]);
    outputs[0].sum(Kind::Double).backward();
    assert_eq!(x.grad(), x.full_like(2.0));
}

#[test]
fn an_input_returned_as_output_has_a_gradient_of_its_own() {
    let x = variable(&[3], 0);
    let forward = |x: &[Tensor]| Ok(Forward { outputs: vec![x[0].shallow_clone()], saved: vec![] });
    let y = &Probe { forward, ..Probe::new(&Arc::default()) }.apply(&[&x]).unwrap()[0];
    y.sum(Kind::Double).backward();
    assert_eq!(y, &x);
    assert_eq!(x.grad(), x.full_like(2.0));
}

#[test]
fn an_output_can_be_written_into_like_any_other() {
    let inputs = layer_inputs();
    let relu = |outputs: Vec<Tensor>| outputs.into_iter().map(|mut y| y.relu_()).collect::<Vec<_>>();
    let ours = gradients(&project(&relu(Layer.apply(&references(&inputs)).unwrap())), &inputs);
    let composed = Layer::composed(&inputs).iter().map(Tensor::relu).collect::<Vec<_>>();
    for (ours, theirs) in ours.iter().zip(gradients(&project(&composed), &inputs)) {
        assert_close(ours, &theirs, 1e-14, "gradient");
    }
}

#[test]
fn running_backward_twice_needs_a_retained_graph() {
    let sum = probed(Probe::new(&Arc::default()));
    sum.backward();
    let text = message(sum.f_backward());
    assert!(text.contains("backward through the graph a second time"), "{text}");
    // A function that saves nothing allows it, as with libtorch's own operations.
    let forward = |x: &[Tensor]| Ok(Forward { outputs: vec![&x[0] * 2.0], saved: vec![] });
    let sum =
        Probe { forward, ..Probe::new(&Arc::default()) }.apply(&[&variable(&[3], 0)]).unwrap()[0].sum(Kind::Double);
    (0..2).for_each(|_| sum.backward());
    let x = [variable(&[3], 0)];
    let sum = Probe::new(&Arc::default()).apply(&references(&x)).unwrap()[0].sum(Kind::Double);
    for _ in 0..2 {
        assert_eq!(gradients(&sum, &x)[0], x[0].full_like(2.0));
    }
}

#[test]
fn a_saved_tensor_that_was_written_into_is_an_error() {
    // One of two inputs, or the output.
    for which in 0..3i64 {
        let (x, kept) = (variable(&[3], 0), numbers(&[3], 1));
        let probe = Probe {
            forward: |inputs| {
                let output = &inputs[0] * &inputs[1];
                let saved = [&inputs[0], &inputs[1], &output][inputs[2].int64_value(&[]) as usize].shallow_clone();
                Ok(Forward { saved: vec![saved], outputs: vec![output] })
            },
            backward: |_, _| Ok(vec![None, None, None]),
            ..Probe::new(&Arc::default())
        };
        let output = probe.apply(&[&x, &kept, &Tensor::from(which)]).unwrap().remove(0);
        let sum = output.sum(Kind::Double);
        let _ = no_grad(|| [x, kept, output][which as usize].shallow_clone().g_add_scalar_(1.0));
        let text = message(sum.f_backward());
        assert!(text.contains("modified by an inplace operation"), "{which}: {text}");
    }
}

#[test]
fn nothing_is_recorded_without_gradients() {
    let (x, alive) = (variable(&[3], 0), Arc::default());
    let y = no_grad(|| Probe::new(&alive).apply(&[&x]).unwrap());
    let z = Probe::new(&Arc::default()).apply(&[&numbers(&[3], 0)]).unwrap();
    assert!(!y[0].requires_grad() && !z[0].requires_grad());
    assert_eq!(alive.load(Ordering::SeqCst), 0, "the function is dropped at once");
}

#[test]
fn nothing_is_recorded_within_the_passes() {
    let probe = Probe {
        forward: |x| {
            let output = &x[0] * 2.0;
            assert!(!output.requires_grad());
            Ok(Forward { outputs: vec![output], saved: vec![x[0].shallow_clone()] })
        },
        backward: |saved, gradients| {
            let trained = saved[0].copy().set_requires_grad(true);
            assert!(!(&trained * 2.0).requires_grad());
            Ok(gradients)
        },
        ..Probe::new(&Arc::default())
    };
    let x = [variable(&[3], 0)];
    let y = &probe.apply(&[&x[0]]).unwrap()[0];
    assert!(y.requires_grad());
    // With create_graph, too.
    for create_graph in [false, true] {
        let _ = Tensor::f_run_backward(&[y.sum(Kind::Double)], &x, true, create_graph).unwrap();
    }
}

#[test]
fn nothing_is_left_of_three_hundred_steps() {
    let alive: Arc<AtomicUsize> = Arc::default();
    let x = Tensor::ones([1 << 20], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let step = |backward: bool| {
        let probe = Probe {
            counted: Counted::new(&alive),
            forward: |x| {
                let output = &x[0] * 2.0;
                // An input, an output, an intermediate result, and views of all of them.
                let kept = [&x[0], &output, &(&x[0] + 1.0)]
                    .map(|t| [t.shallow_clone(), t.narrow(0, 1, 1000), t.view([2, -1])]);
                Ok(Forward { saved: kept.into_iter().flatten().collect(), outputs: vec![output] })
            },
            ..Probe::new(&Arc::default())
        };
        let sum = probe.apply(&[&x]).unwrap()[0].sum(Kind::Float);
        if backward {
            sum.backward();
        }
    };
    // Of this process; 0 where the system does not tell in this way.
    let resident = || memory_mib("VmRSS").unwrap_or(0.0);
    step(true);
    let before = resident();
    for number in 0..300 {
        step(number % 2 == 0);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "after step {number}");
    }
    // A tensor has 4 MiB, so that one kept in each step would be 1200 MiB. Other tests run at the same time.
    let grown = resident() - before;
    assert!(grown < 300.0, "{grown} MiB more");
}
