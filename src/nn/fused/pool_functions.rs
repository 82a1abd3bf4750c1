//! Norm, ReLU and pooling as functions with backward passes of their own.

use super::norm::{ChannelStatistics, Norm, tensor};
use super::passes::{self, Correction, MaxPooled, ReaderSums, sizes};
use super::{by_kind, update_running};
use crate::Result;
use crate::kernels::{Element, GradientSums};
use crate::nn::{Features, ForwardContext, NormRelu, Statistics};
use crate::torch::{Forward, Function, apply, to_channels_last};
use tch::{Kind, Tensor};

/// ReLU(norm(features)), averaged over windows `[h, w]`: `[N, C, ⌊H/h⌋, ⌊W/w⌋]` of a kind that is the features' or has more bits.
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
        let outputs = apply(AveragePool { window, kind }, &[data, &norm.weight, &norm.bias, mean, rstd])?;
        Ok(outputs.into_iter().next().expect("one output"))
    };
    if !ctx.mode.uses_batch_statistics() {
        let fixed = ChannelStatistics::running(&norm.running_mean, &norm.running_var, epsilon);
        let [mean, rstd] = fixed.tensors(data);
        return pool(&mean, &rstd);
    }
    let computed = match &features.statistics {
        Some(_) => None,
        None => Features::with_statistics(data.shallow_clone(), epsilon).statistics,
    };
    let statistics = features.statistics.as_ref().or(computed.as_ref()).expect("computed where they did not come");
    update_running(norm, statistics, data);
    pool(&statistics.mean, &statistics.rstd)
}

type Wide<T> = <T as Element>::Wide;

/// A function of features, γ, β, mean and 1/√(var + ε).
struct AveragePool {
    window: [usize; 2],
    kind: Kind,
}

impl Function for AveragePool {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let [x, gamma, beta, mean, rstd] = inputs else { unreachable!("five inputs") };
        let x = to_channels_last(x)?;
        let statistics = ChannelStatistics::of(mean, rstd);
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
        let Some(Some(arriving)) = gradients.into_iter().next() else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let [x, gamma, beta, mean, rstd] = &saved[..] else { unreachable!("five were saved") };
        let (arriving, statistics) = (to_channels_last(&arriving)?, ChannelStatistics::of(mean, rstd));
        let (dx, [dgamma, dbeta, dmean, drstd]) = by_kind!(x, T => {
            let norm = Norm::new(gamma, beta, &statistics);
            let (dx, sums) = match self.kind == x.kind() {
                true => passes::average_pool_backward::<T, T>(&arriving, x, &norm, self.window),
                false => passes::average_pool_backward::<T, Wide<T>>(&arriving, x, &norm, self.window),
            };
            (dx, parameter_gradients(&sums, &norm, x))
        });
        Ok([dx, dgamma, dbeta, dmean, drstd].map(Some).into())
    }
}

/// The gradients of γ, β, mean and 1/√(var + ε) from a norm's sums.
fn parameter_gradients<W>(sums: &GradientSums, norm: &Norm<W>, features: &Tensor) -> [Tensor; 4] {
    let each = |of: &dyn Fn(usize) -> f64| tensor(&(0..norm.gamma.len()).map(of).collect::<Vec<_>>(), features);
    [
        each(&|c| sums.scale[c] * norm.rstd[c]),
        each(&|c| sums.shift[c]),
        each(&|c| -norm.gamma[c] * norm.rstd[c] * sums.shift[c]),
        each(&|c| norm.gamma[c] * sums.scale[c]),
    ]
}

/// ReLU(norm(x)), its largest values in windows of 3×3 with stride 2 and padding 1.
pub(crate) fn norm_relu_max_pool(x: &Tensor, norm: &NormRelu, ctx: &ForwardContext) -> Result<Tensor> {
    let epsilon = norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let fixed = (!train).then(|| ChannelStatistics::running(&norm.running_mean, &norm.running_var, epsilon));
    let mut outputs = apply(MaxPool { epsilon, train, statistics: fixed }, &[x, &norm.weight, &norm.bias])?.into_iter();
    let out = outputs.next().expect("the pooled values come first");
    if let Some((mean, rstd)) = outputs.next().zip(outputs.next()) {
        update_running(norm, &Statistics { mean, rstd }, x);
    }
    Ok(out)
}

/// A function of features, γ and β.
struct MaxPool {
    epsilon: f64,
    train: bool,
    /// Fixed ones, or those of the batch once they are known.
    statistics: Option<ChannelStatistics>,
}

impl Function for MaxPool {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let [x, gamma, beta] = inputs else { unreachable!("three inputs") };
        let x = to_channels_last(x)?;
        let epsilon = self.epsilon;
        let statistics = self.statistics.take();
        let (out, winners, statistics) = by_kind!(&x, T => {
            let statistics =
                statistics.unwrap_or_else(|| ChannelStatistics::new(&passes::moments::<T>(&x), epsilon));
            let (out, winners) = passes::max_pool::<T>(&x, &Norm::new(gamma, beta, &statistics));
            (out, winners, statistics)
        });
        let mut outputs = vec![out];
        if self.train {
            outputs.extend(statistics.tensors(&x));
        }
        self.statistics = Some(statistics);
        Ok(Forward { outputs, saved: vec![x, gamma.shallow_clone(), beta.shallow_clone(), winners] })
    }

    /// The statistics are only for the running ones.
    fn is_differentiable(&self, output: usize) -> bool {
        output == 0
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(Some(arriving)) = gradients.into_iter().next() else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let [x, gamma, beta, winners] = &saved[..] else { unreachable!("four were saved") };
        let arriving = to_channels_last(&arriving)?;
        let statistics = self.statistics.as_ref().expect("the forward pass left them");
        let [n, channels, h, w] = sizes(x);
        let (dx, [dgamma, dbeta, ..]) = by_kind!(x, T => {
            let norm = Norm::new(gamma, beta, statistics);
            let pooled = MaxPooled { upstream: &arriving, winners, x, norm: &norm };
            let sums = passes::max_pool_sums::<T>(&pooled);
            // Fixed statistics do not depend on what they normalize: with sums of 0 nothing is corrected.
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
