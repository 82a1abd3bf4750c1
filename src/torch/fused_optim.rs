//! Optimizer steps over all parameters in one call.

use super::ffi::{self, Rate};
use crate::Result;
use tch::Tensor;

/// The hyperparameters of a step of SGD that all parameters share.
pub(crate) struct SgdStep {
    /// Factor of momentum; 0 for none.
    pub momentum: f64,
    pub nesterov: bool,
}

/// Makes a step of SGD: v ← m·v + (g + decay·p); p ← p − rate·v, or p ← p − rate·(g + decay·p + m·v) with Nesterov
/// momentum.
///
/// There are one gradient and one rate per parameter and, with momentum, one buffer v, which is 0 before the first
/// step; without momentum `momenta` is empty. Gradients and buffers have the shape, dtype and device of their
/// parameter; buffers also have its memory format, as `zeros_like` returns them.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) where a tensor does not fit. Nothing has changed then.
///
/// # Panics
///
/// Where the lists have different lengths.
pub(crate) fn sgd_step(
    parameters: &[&Tensor],
    gradients: &[Tensor],
    momenta: &[&Tensor],
    rates: &[Rate],
    step: &SgdStep,
) -> Result<()> {
    if parameters.is_empty() {
        return Ok(());
    }
    assert_eq!([gradients.len(), rates.len()], [parameters.len(); 2]);
    assert_eq!(momenta.len(), if step.momentum == 0.0 { 0 } else { parameters.len() });
    let mut gradients = ffi::handles(gradients);
    let [mut parameters, mut momenta] = [parameters, momenta].map(ffi::handles);
    ffi::call("step of SGD", |error| {
        // SAFETY: the handles are live tensors' for the length of the call, and the lists as long as the entry expects.
        unsafe {
            ffi::densenet_fused_sgd_step(
                (&mut parameters).into(),
                (&mut gradients).into(),
                (&mut momenta).into(),
                rates.as_ptr(),
                step.momentum,
                step.nesterov,
                error,
            )
        }
    })?;
    Ok(())
}

/// The hyperparameters of a step of AdamW that all parameters share.
pub(crate) struct AdamWStep {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
}

/// Makes a step of AdamW: p ← p·(1 − rate·decay) − rate·m̂/(√v̂ + ε), with bias-corrected moments m̂ and v̂ of the
/// gradient.
///
/// `numbers` are the 1-based indices of the parameters' own steps, each a tensor of one f32 on its parameter's device.
/// There are one rate, one gradient and one of each moment per parameter, of its shape, dtype and device. Moments are 0
/// before the first step, and have the parameter's memory format too.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch) where a tensor does not fit. Nothing has changed then.
///
/// # Panics
///
/// Where the lists have different lengths.
pub(crate) fn adamw_step(
    parameters: &[&Tensor],
    gradients: &[Tensor],
    first_moments: &[&Tensor],
    second_moments: &[&Tensor],
    numbers: &[Tensor],
    rates: &[Rate],
    step: &AdamWStep,
) -> Result<()> {
    if parameters.is_empty() {
        return Ok(());
    }
    for count in [gradients.len(), first_moments.len(), second_moments.len(), numbers.len(), rates.len()] {
        assert_eq!(parameters.len(), count);
    }
    let [mut gradients, mut numbers] = [gradients, numbers].map(ffi::handles);
    let [mut parameters, mut first, mut second] = [parameters, first_moments, second_moments].map(ffi::handles);
    ffi::call("step of AdamW", |error| {
        // SAFETY: the handles are live tensors' for the length of the call, and the lists are equally long.
        unsafe {
            ffi::densenet_fused_adamw_step(
                (&mut parameters).into(),
                (&mut gradients).into(),
                (&mut first).into(),
                (&mut second).into(),
                (&mut numbers).into(),
                rates.as_ptr(),
                step.beta1,
                step.beta2,
                step.epsilon,
                error,
            )
        }
    })?;
    Ok(())
}

/// Removes the gradients of all parameters, so that the next backward pass does not add to them.
pub(crate) fn clear_gradients(parameters: &[&Tensor]) -> Result<()> {
    let mut parameters = ffi::handles(parameters);
    // SAFETY: the handles are live tensors' for the length of the call.
    ffi::call("clearing of gradients", |error| unsafe {
        ffi::densenet_clear_gradients((&mut parameters).into(), error)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::to_channels_last;
    use tch::{Device, Kind, no_grad};

    /// Tensors of several shapes, one of them in channels-last memory format.
    fn tensors(kind: Kind, seed: f64) -> Vec<Tensor> {
        let shapes: [&[i64]; 5] = [&[5], &[7, 3], &[16, 8, 3, 3], &[16, 8, 3, 3], &[1]];
        let values = shapes.iter().enumerate().map(|(i, shape)| {
            let count = shape.iter().product::<i64>();
            let values =
                (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7 + seed + i as f64).sin().view(*shape);
            if i == 2 { to_channels_last(&values).unwrap() } else { values }
        });
        values.map(|values| values.to_kind(kind)).collect()
    }

    fn zeros_like(tensors: &[Tensor]) -> Vec<Tensor> {
        tensors.iter().map(Tensor::zeros_like).collect()
    }

    fn borrowed(tensors: &[Tensor]) -> Vec<&Tensor> {
        tensors.iter().collect()
    }

    /// The largest error, as a share of the largest value.
    fn assert_close(ours: &[Tensor], theirs: &[Tensor], tolerance: f64, what: &str) {
        for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let [ours, theirs] = [ours, theirs].map(|t| t.to_kind(Kind::Double));
            let scale = theirs.abs().max().double_value(&[]);
            let error = (ours - &theirs).abs().max().double_value(&[]);
            assert!(error <= tolerance * scale, "{what} {i}: {error:e} of {scale}");
        }
    }

    /// A few roundings per step.
    const TOLERANCES: [(Kind, f64); 2] = [(Kind::Double, 1e-14), (Kind::Float, 2e-6)];

    #[test]
    fn a_step_of_sgd_is_what_it_says() {
        for (kind, tolerance) in TOLERANCES {
            for (momentum, nesterov, weight_decay) in
                [(0.0, false, 0.0), (0.0, false, 0.1), (0.9, false, 0.0), (0.9, false, 0.1), (0.9, true, 0.1)]
            {
                let step = SgdStep { momentum, nesterov };
                let parameters = tensors(kind, 0.0);
                let mut expected = tensors(Kind::Double, 0.0);
                let (momenta, mut velocities) = (zeros_like(&parameters), zeros_like(&expected));
                for number in 1..=4 {
                    let gradients = tensors(kind, number as f64);
                    let used = if momentum == 0.0 { Vec::new() } else { borrowed(&momenta) };
                    let rates = [Rate { learning_rate: 0.05, weight_decay }; 5];
                    sgd_step(&borrowed(&parameters), &gradients, &used, &rates, &step).unwrap();
                    for ((p, v), g) in
                        expected.iter_mut().zip(&mut velocities).zip(tensors(Kind::Double, number as f64))
                    {
                        let g = g + &*p * weight_decay;
                        *v = &*v * momentum + &g;
                        let update = if nesterov { g + &*v * momentum } else { v.shallow_clone() };
                        *p = &*p - update * 0.05;
                    }
                }
                let what = format!("{kind:?}, momentum {momentum}, {nesterov}, decay {weight_decay}");
                assert_close(&parameters, &expected, tolerance, &what);
                if momentum > 0.0 {
                    assert_close(&momenta, &velocities, tolerance, &what);
                }
            }
        }
    }

    #[test]
    fn a_step_of_adamw_is_what_it_says() {
        let step = AdamWStep { beta1: 0.9, beta2: 0.99, epsilon: 1e-6 };
        // Two distinct rates, so that there are two calls.
        let rate = |i: usize| [0.05, 0.02][i % 2];
        let rates: Vec<_> = (0..5).map(|i| Rate { learning_rate: rate(i), weight_decay: 0.1 }).collect();
        for (kind, tolerance) in TOLERANCES {
            let parameters = tensors(kind, 0.0);
            let mut expected = tensors(Kind::Double, 0.0);
            let (first, second) = (zeros_like(&parameters), zeros_like(&parameters));
            let (mut m, mut v) = (zeros_like(&expected), zeros_like(&expected));
            for number in 1..=4 {
                let gradients = tensors(kind, number as f64);
                let numbers: Vec<_> = parameters.iter().map(|_| Tensor::from(number as f32)).collect();
                let [parameters, first, second] = [&parameters, &first, &second].map(|list| borrowed(list));
                adamw_step(&parameters, &gradients, &first, &second, &numbers, &rates, &step).unwrap();
                for (i, g) in tensors(Kind::Double, number as f64).into_iter().enumerate() {
                    m[i] = &m[i] * 0.9 + &g * (1.0 - 0.9);
                    v[i] = &v[i] * 0.99 + g.square() * (1.0 - 0.99);
                    let (m, v) = (&m[i] / (1.0 - 0.9f64.powi(number)), &v[i] / (1.0 - 0.99f64.powi(number)));
                    expected[i] = &expected[i] * (1.0 - rate(i) * 0.1) - m / (v.sqrt() + 1e-6) * rate(i);
                }
            }
            assert_close(&parameters, &expected, tolerance, &format!("{kind:?}, parameter"));
            assert_close(&first, &m, tolerance, &format!("{kind:?}, first moment"));
            assert_close(&second, &v, tolerance, &format!("{kind:?}, second moment"));
        }
    }

    #[test]
    fn a_gradient_may_have_another_memory_order_and_state_may_not() {
        let step = SgdStep { momentum: 0.5, nesterov: false };
        let rate = [Rate { learning_rate: 1.0, weight_decay: 0.0 }];
        let values = Tensor::rand([4, 3, 2, 2], (Kind::Double, Device::Cpu));
        let parameter = to_channels_last(&values).unwrap();
        let momentum = parameter.zeros_like();
        sgd_step(&[&parameter], &[values.shallow_clone()], &[&momentum], &rate, &step).unwrap();
        assert_eq!(parameter, values.zeros_like());
        assert_eq!(momentum, values);
        let text =
            sgd_step(&[&parameter], &[values.shallow_clone()], &[&values], &rate, &step).unwrap_err().to_string();
        assert!(text.contains("state 0 has another shape, order or kind"), "{text}");
        let text = sgd_step(&[&parameter], &[values.view([6, 8])], &[&momentum], &rate, &step).unwrap_err().to_string();
        assert!(text.contains("gradient 0 has another shape"), "{text}");
        let narrow = Tensor::zeros([4, 4], (Kind::Double, Device::Cpu)).narrow(1, 0, 2);
        let text = sgd_step(&[&narrow], &[narrow.shallow_clone()], &[&narrow], &rate, &step).unwrap_err().to_string();
        assert!(text.contains("parameter 0 has gaps"), "{text}");
        assert_eq!(parameter, values.zeros_like());
    }

    #[test]
    fn parameters_that_require_a_gradient_can_be_stepped_and_cleared() {
        let parameter = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        parameter.square().sum(Kind::Float).backward();
        let plain = SgdStep { momentum: 0.0, nesterov: false };
        let rate = [Rate { learning_rate: 0.25, weight_decay: 0.0 }];
        sgd_step(&[&parameter], &[parameter.grad()], &[], &rate, &plain).unwrap();
        assert_eq!(no_grad(|| parameter.copy()), Tensor::from_slice(&[0.5f32; 3]));
        clear_gradients(&[&parameter]).unwrap();
        assert!(!parameter.grad().defined() && parameter.requires_grad());
    }
}
