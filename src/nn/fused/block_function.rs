//! The dense block as a function with a backward pass of its own.

use super::block::{self, Arriving, Layer, Statistics};
use super::norm::ChannelStatistics;
use super::{by_kind, update_running};
use crate::Result;
use crate::nn::{Features, ForwardContext, NormRelu, Statistics as TravellingStatistics};
use crate::torch::{Forward, Function, apply};
use tch::Tensor;
use tch::nn::Conv2D;

/// Adds the features of layers to `features`.
pub(crate) fn dense_block(
    features: Features,
    layers: &[(&NormRelu, &Conv2D)],
    ctx: &ForwardContext,
) -> Result<Features> {
    let [first, ..] = layers else { return Ok(features) };
    let epsilon = first.0.config().epsilon;
    let train = ctx.mode.is_train();
    let given = features.statistics.filter(|_| train);
    let mut inputs = vec![&features.data];
    if let Some(statistics) = &given {
        inputs.extend([&statistics.mean, &statistics.rstd]);
    }
    for (norm, conv) in layers {
        inputs.extend([&norm.weight, &norm.bias, &conv.ws]);
        inputs.extend(&conv.bs);
    }
    let fixed = |norm: &NormRelu| ChannelStatistics::running(&norm.running_mean, &norm.running_var, epsilon);
    let function = BlockFunction {
        epsilon,
        has_bias: first.1.bs.is_some(),
        given: given.is_some(),
        statistics: (!train).then(|| Statistics::Fixed(layers.iter().map(|(norm, _)| fixed(norm)).collect())),
    };
    let mut outputs = apply(function, &inputs)?.into_iter();
    let data = outputs.next().expect("features come first");
    let statistics = outputs.next().zip(outputs.next()).map(|(mean, rstd)| TravellingStatistics { mean, rstd });
    if let Some(statistics) = &statistics {
        layers.iter().for_each(|(norm, _)| update_running(norm, statistics, &data));
    }
    Ok(Features { data, statistics })
}

struct BlockFunction {
    epsilon: f64,
    has_bias: bool,
    /// Whether the statistics of the input come with it.
    given: bool,
    /// Fixed ones, or those of the batch once they are known.
    statistics: Option<Statistics>,
}

impl BlockFunction {
    fn layers(&self, tensors: &[Tensor]) -> Vec<Layer> {
        let layer = |tensors: &[Tensor]| Layer {
            gamma: tensors[0].shallow_clone(),
            beta: tensors[1].shallow_clone(),
            weight: tensors[2].shallow_clone(),
            bias: tensors.get(3).map(Tensor::shallow_clone),
        };
        tensors.chunks_exact(if self.has_bias { 4 } else { 3 }).map(layer).collect()
    }
}

impl Function for BlockFunction {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let (given, layers) = inputs[1..].split_at(if self.given { 2 } else { 0 });
        let mut saved: Vec<Tensor> = layers.iter().map(Tensor::shallow_clone).collect();
        let layers = self.layers(layers);
        let statistics = match given {
            [mean, rstd] => Some(Statistics::Batch(ChannelStatistics::of(mean, rstd))),
            _ => self.statistics.take(),
        };
        let x = &inputs[0];
        let (features, statistics) = by_kind!(x, T => block::forward::<T>(x, statistics, &layers, self.epsilon))?;
        saved.push(features.shallow_clone());
        let mut outputs = vec![features];
        if let Statistics::Batch(statistics) = &statistics {
            outputs.extend(statistics.tensors(x));
        }
        self.statistics = Some(statistics);
        Ok(Forward { outputs, saved })
    }

    fn backward(
        &mut self,
        mut saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let features = saved.pop().expect("features were saved last");
        let layers = self.layers(&saved);
        let statistics = self.statistics.as_ref().expect("the forward pass left them");
        let mut gradients = gradients.into_iter();
        let mut next = || gradients.next().flatten();
        let arriving = Arriving { features: next(), mean: next(), rstd: next() };
        let gradients = by_kind!(
            &features,
            T => block::backward::<T>(&features, statistics, self.given, &layers, arriving)
        )?;
        let mut results = vec![Some(gradients.x)];
        results.extend(gradients.statistics.into_iter().flatten().map(Some));
        for layer in gradients.layers {
            results.extend([layer.gamma, layer.beta, layer.weight].map(Some));
            results.extend(layer.bias.map(Some));
        }
        Ok(results)
    }
}
