//! The dense block as a function with a backward pass of its own.

use super::block::{self, Arriving, Layer, LayerNeeds, Needs, Statistics};
use super::norm::ChannelStatistics;
use super::{by_kind, update_running};
use crate::Result;
use crate::kernels::DropMask;
use crate::nn::{Features, ForwardContext, NormRelu, Statistics as TravellingStatistics};
use crate::torch::{Forward, Function, apply};
use tch::nn::Conv2D;
use tch::{Device, Kind, Tensor};

/// A plain layer: what it consists of, and the share of its output that this pass drops.
pub(crate) struct PlainLayer<'a> {
    pub norm: &'a NormRelu,
    pub conv: &'a Conv2D,
    pub drop_rate: f64,
}

/// Adds the features of layers to `features`.
pub(crate) fn dense_block(features: Features, layers: &[PlainLayer], ctx: &ForwardContext) -> Result<Features> {
    let [first, ..] = layers else { return Ok(features) };
    let epsilon = first.norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let given = features.statistics.filter(|_| train);
    let mut inputs = vec![&features.data];
    if let Some(statistics) = &given {
        inputs.extend([&statistics.mean, &statistics.rstd]);
    }
    for PlainLayer { norm, conv, .. } in layers {
        inputs.extend([&norm.weight, &norm.bias, &conv.ws]);
        inputs.extend(&conv.bs);
    }
    let fixed = |norm: &NormRelu| ChannelStatistics::running(&norm.running_mean, &norm.running_var, epsilon);
    let function = BlockFunction {
        epsilon,
        has_bias: first.conv.bs.is_some(),
        given: given.is_some(),
        dropped: layers.iter().map(|layer| (layer.drop_rate > 0.0).then(|| mask(layer.drop_rate))).collect(),
        statistics: (!train).then(|| Statistics::Fixed(layers.iter().map(|layer| fixed(layer.norm)).collect())),
    };
    let mut outputs = apply(function, &inputs)?.into_iter();
    let data = outputs.next().expect("features come first");
    let statistics = outputs.next().zip(outputs.next()).map(|(mean, rstd)| TravellingStatistics { mean, rstd });
    if let Some(statistics) = &statistics {
        layers.iter().for_each(|layer| update_running(layer.norm, statistics, &data));
    }
    Ok(Features { data, statistics })
}

/// A mask that libtorch's generator decides, as it decides those of its own dropout.
fn mask(rate: f64) -> DropMask {
    let key = Tensor::randint_low(i64::MIN, i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    DropMask::new(key as u64, rate)
}

struct BlockFunction {
    epsilon: f64,
    has_bias: bool,
    /// Whether the statistics of the input come with it.
    given: bool,
    /// What is dropped from each layer's output.
    dropped: Vec<Option<DropMask>>,
    /// Fixed ones, or those of the batch once they are known.
    statistics: Option<Statistics>,
}

impl BlockFunction {
    /// How many parameters a layer has.
    fn parameters(&self) -> usize {
        if self.has_bias { 4 } else { 3 }
    }

    fn layers(&self, tensors: &[Tensor]) -> Vec<Layer> {
        let layer = |(tensors, &dropped): (&[Tensor], &Option<DropMask>)| Layer {
            gamma: tensors[0].shallow_clone(),
            beta: tensors[1].shallow_clone(),
            weight: tensors[2].shallow_clone(),
            bias: tensors.get(3).map(Tensor::shallow_clone),
            dropped,
        };
        tensors.chunks_exact(self.parameters()).zip(&self.dropped).map(layer).collect()
    }

    fn needs(&self, needs: &[bool]) -> Needs {
        let (input, layers) = needs.split_at(if self.given { 3 } else { 1 });
        let layer = |needs: &[bool]| LayerNeeds {
            norm: needs[0] || needs[1],
            weight: needs[2],
            bias: needs.get(3).is_some_and(|&bias| bias),
        };
        Needs { input: input.contains(&true), layers: layers.chunks_exact(self.parameters()).map(layer).collect() }
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
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let features = saved.pop().expect("features were saved last");
        let layers = self.layers(&saved);
        let statistics = self.statistics.as_ref().expect("the forward pass left them");
        let mut gradients = gradients.into_iter();
        let mut next = || gradients.next().flatten();
        let arriving = Arriving { features: next(), mean: next(), rstd: next() };
        let gradients = by_kind!(
            &features,
            T => block::backward::<T>(&features, statistics, self.given, &layers, arriving, &self.needs(needs))
        )?;
        let mut results = vec![gradients.x];
        if self.given {
            results.extend(gradients.statistics.map_or([None, None], |statistics| statistics.map(Some)));
        }
        for layer in gradients.layers {
            results.extend([layer.gamma, layer.beta, layer.weight]);
            results.extend(self.has_bias.then_some(layer.bias));
        }
        Ok(results)
    }
}
