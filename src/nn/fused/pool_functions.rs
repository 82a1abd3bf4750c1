//! Norm, ReLU and pooling as one autograd function each.

use super::block::wide_kind;
use super::cpu::correction::{Correction, ReaderSums};
use super::cpu::norm::{HostStatistics, Norm, numbers, tensor};
use super::cpu::passes::{self, MaxPooled, sizes};
use super::{by_kind, update_running};
use crate::Result;
use crate::kernels::{Element, GradientSums};
use crate::nn::{Features, ForwardContext, NormRelu, Statistics};
use crate::torch::{Forward, Function, to_channels_last};
use tch::{Kind, Tensor};

/// Averages ReLU(norm(features)) over windows `[h, w]`: `[N, C, ⌊H/h⌋, ⌊W/w⌋]`, in the dtype of the features or a wider
/// one.
pub(crate) fn norm_relu_average_pool(
    features: &Features,
    norm: &NormRelu,
    window: [usize; 2],
    kind: Kind,
    ctx: &ForwardContext,
) -> Result<Tensor> {
    let epsilon = norm.config().epsilon;
    let data = &features.data;
    let pool = |mean: &Tensor, rstd: &Tensor| {
        let outputs = AveragePool { window, kind }.apply(&[data, &norm.weight, &norm.bias, mean, rstd])?;
        Ok(outputs.into_iter().next().expect("one output"))
    };
    if !ctx.mode.uses_batch_statistics() {
        let running = Statistics::running(&norm.running_mean, &norm.running_var, epsilon).to_kind(wide_kind(data));
        return pool(&running.mean, &running.rstd);
    }
    let computed;
    let statistics = match features.statistics(epsilon) {
        Some(statistics) => statistics,
        None => {
            computed = Statistics::of(&data.to_kind(wide_kind(data)), epsilon);
            &computed
        }
    };
    update_running(norm, statistics, data);
    pool(&statistics.mean, &statistics.rstd)
}

type Wide<T> = <T as Element>::Wide;

/// Average pooling as a function of features, γ, β, mean and 1/√(var + ε).
struct AveragePool {
    window: [usize; 2],
    kind: Kind,
}

impl Function for AveragePool {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let [x, gamma, beta, mean, rstd] = inputs else { unreachable!("five inputs") };
        let x = to_channels_last(x)?;
        let statistics = host(mean, rstd);
        let out = by_kind!(&x, T => {
            let norm = Norm::new(gamma, beta, &statistics);
            match self.kind == x.kind() {
                true => passes::average_pool::<T, T>(&x, &norm, self.window),
                false => passes::average_pool::<T, Wide<T>>(&x, &norm, self.window),
            }
        });
        let saved = [&x, gamma, beta, mean, rstd].map(Tensor::shallow_clone).into();
        Ok(Forward { outputs: vec![out], saved })
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(Some(upstream)) = gradients.into_iter().next() else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let [x, gamma, beta, mean, rstd] = &saved[..] else { unreachable!("five were saved") };
        let (upstream, statistics) = (to_channels_last(&upstream)?, host(mean, rstd));
        let (dx, [dgamma, dbeta, dmean, drstd]) = by_kind!(x, T => {
            let norm = Norm::new(gamma, beta, &statistics);
            let (dx, sums) = match self.kind == x.kind() {
                true => passes::average_pool_backward::<T, T>(&upstream, x, &norm, self.window),
                false => passes::average_pool_backward::<T, Wide<T>>(&upstream, x, &norm, self.window),
            };
            (dx, parameter_gradients(&sums, &norm, x))
        });
        Ok([dx, dgamma, dbeta, dmean, drstd].map(Some).into())
    }
}

fn host(mean: &Tensor, rstd: &Tensor) -> HostStatistics {
    HostStatistics { mean: numbers(mean), rstd: numbers(rstd) }
}

/// Computes the gradients of γ, β, mean and 1/√(var + ε) from a norm's sums.
fn parameter_gradients<W>(sums: &GradientSums, norm: &Norm<W>, features: &Tensor) -> [Tensor; 4] {
    let each = |of: &dyn Fn(usize) -> f64| tensor(&(0..norm.gamma.len()).map(of).collect::<Vec<_>>(), features);
    [
        each(&|c| sums.scale[c] * norm.rstd[c]),
        each(&|c| sums.shift[c]),
        each(&|c| -norm.gamma[c] * norm.rstd[c] * sums.shift[c]),
        each(&|c| norm.gamma[c] * sums.scale[c]),
    ]
}

/// Returns the maxima of ReLU(norm(x)) in windows of 3×3 with stride 2 and padding 1.
pub(crate) fn norm_relu_max_pool(x: &Tensor, norm: &NormRelu, ctx: &ForwardContext) -> Result<Tensor> {
    let epsilon = norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let running = || Statistics::running(&norm.running_mean, &norm.running_var, epsilon);
    let running = (!train).then(|| HostStatistics::of(&running()));
    let mut outputs =
        MaxPool { epsilon, train, statistics: running }.apply(&[x, &norm.weight, &norm.bias])?.into_iter();
    let out = outputs.next().expect("the pooled values come first");
    if let Some((mean, rstd)) = outputs.next().zip(outputs.next()) {
        update_running(norm, &Statistics { mean, rstd }, x);
    }
    Ok(out)
}

/// Max pooling as a function of features, γ and β.
struct MaxPool {
    epsilon: f64,
    train: bool,
    /// Running statistics, or batch statistics after the forward pass.
    statistics: Option<HostStatistics>,
}

impl Function for MaxPool {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let [x, gamma, beta] = inputs else { unreachable!("three inputs") };
        let x = to_channels_last(x)?;
        let epsilon = self.epsilon;
        let statistics = self.statistics.take();
        let (out, indices, statistics) = by_kind!(&x, T => {
            let statistics =
                statistics.unwrap_or_else(|| HostStatistics::of_moments(&passes::moments::<T>(&x), epsilon));
            let (out, indices) = passes::max_pool::<T>(&x, &Norm::new(gamma, beta, &statistics));
            (out, indices, statistics)
        });
        let mut outputs = vec![out];
        if self.train {
            let Statistics { mean, rstd } = statistics.tensors().to_kind(wide_kind(&x));
            outputs.extend([mean, rstd]);
        }
        self.statistics = Some(statistics);
        Ok(Forward { outputs, saved: vec![x, gamma.shallow_clone(), beta.shallow_clone(), indices] })
    }

    /// The statistics serve only to update the running statistics.
    fn is_differentiable(&self, output: usize) -> bool {
        output == 0
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(Some(upstream)) = gradients.into_iter().next() else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let [x, gamma, beta, indices] = &saved[..] else { unreachable!("four were saved") };
        let upstream = to_channels_last(&upstream)?;
        let statistics = self.statistics.as_ref().expect("the forward pass left them");
        let [n, channels, h, w] = sizes(x);
        let (dx, [dgamma, dbeta, ..]) = by_kind!(x, T => {
            let norm = Norm::new(gamma, beta, statistics);
            let pooled = MaxPooled { upstream: &upstream, indices, x, norm: &norm };
            let sums = passes::max_pool_sums::<T>(&pooled);
            // Running statistics do not depend on the features: with sums of 0 nothing is corrected.
            let mut readers = ReaderSums::of(None, None, statistics);
            if self.train {
                readers.add(&sums, &norm);
            }
            let correction = Correction::new(0..channels, n * h * w, statistics, &readers);
            (passes::max_pool_backward::<T>(&pooled, &correction), parameter_gradients(&sums, &norm, x))
        });
        Ok([dx, dgamma, dbeta].map(Some).into())
    }
}
