//! The dense block as a function with a backward pass of its own.

use super::block::{Layer, OfFeatures, Stage, Statistics};
use super::block_backward::{Arriving, LayerNeeds, Left, Needs, StageNeeds, backward};
use super::block_forward::{Made, forward};
use super::norm::ChannelStatistics;
use super::{by_kind, update_running};
use crate::Result;
use crate::kernels::DropMask;
use crate::nn::{Features, ForwardContext, Memory, NormRelu, Statistics as TravelingStatistics};
use crate::torch::{Forward, Function, apply};
use std::ops::Range;
use tch::nn::Conv2D;
use tch::{Device, Kind, Tensor};

/// Norm → ReLU → convolution, and the share of its output that this pass drops.
pub(crate) struct FusedStage<'a> {
    pub norm: &'a NormRelu,
    pub conv: &'a Conv2D,
    pub drop_rate: f64,
}

impl FusedStage<'_> {
    /// γ, β, kernels and, where there is one, the bias.
    pub fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        [&self.norm.weight, &self.norm.bias, &self.conv.ws].into_iter().chain(&self.conv.bs)
    }
}

/// A layer: one stage, or two in a bottleneck layer. The first reads the features.
pub(crate) struct FusedLayer<'a> {
    pub stages: Vec<FusedStage<'a>>,
}

/// Adds the features of layers, which are all of one kind, to `features`.
pub(crate) fn dense_block(features: Features, layers: &[FusedLayer], ctx: &ForwardContext) -> Result<Features> {
    let [first, ..] = layers else { return Ok(features) };
    let epsilon = first.stages[0].norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let given = features.statistics.filter(|_| train);
    let mut inputs = vec![&features.data];
    if let Some(statistics) = &given {
        inputs.extend([&statistics.mean, &statistics.rstd]);
    }
    let stages = || layers.iter().flat_map(|layer| &layer.stages);
    inputs.extend(stages().flat_map(|stage| stage.parameters()));
    let function = BlockFunction {
        shape: Shape::of(first, given.is_some()),
        epsilon,
        memory: ctx.memory,
        dropped: stages().map(|stage| (stage.drop_rate > 0.0).then(|| mask(stage.drop_rate))).collect(),
        statistics: (!train).then(|| fixed(layers, epsilon)),
        groups: Vec::new(),
    };
    let mut outputs = apply(function, &inputs)?.into_iter();
    let data = outputs.next().expect("features come first");
    let mut next = || outputs.next().zip(outputs.next()).map(|(mean, rstd)| TravelingStatistics { mean, rstd });
    let statistics = next();
    if let Some(statistics) = &statistics {
        for FusedLayer { stages } in layers {
            update_running(stages[0].norm, statistics, &data);
            if let Some((inner, statistics)) = stages.get(1).zip(next()) {
                update_running(inner.norm, &statistics, &data);
            }
        }
    }
    Ok(Features { data, statistics })
}

/// What norms keep for evaluation.
fn fixed(layers: &[FusedLayer], epsilon: f64) -> Statistics {
    let of =
        |stage: &FusedStage| ChannelStatistics::running(&stage.norm.running_mean, &stage.norm.running_var, epsilon);
    Statistics {
        features: OfFeatures::Fixed(layers.iter().map(|layer| of(&layer.stages[0])).collect()),
        inner: layers.iter().filter_map(|layer| layer.stages.get(1).map(of)).collect(),
    }
}

/// A mask that libtorch's generator decides, as it decides those of its own dropout.
fn mask(rate: f64) -> DropMask {
    let key = Tensor::randint_low(i64::MIN, i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    DropMask::new(key as u64, rate)
}

/// In which order the inputs of a block's function come.
pub(super) struct Shape {
    has_bias: bool,
    /// Whether its layers have two stages.
    has_inner: bool,
    /// Whether the statistics of the input come with it.
    given: bool,
}

impl Shape {
    pub fn of(layer: &FusedLayer, given: bool) -> Self {
        Shape { has_bias: layer.stages[0].conv.bs.is_some(), has_inner: layer.stages.len() == 2, given }
    }

    /// How many parameters a stage has.
    pub fn parameters(&self) -> usize {
        if self.has_bias { 4 } else { 3 }
    }

    /// How many stages a layer has.
    pub fn stages(&self) -> usize {
        if self.has_inner { 2 } else { 1 }
    }

    pub fn needs(&self, needs: &[bool]) -> Needs {
        let (input, stages) = needs.split_at(if self.given { 3 } else { 1 });
        let stage = |needs: &[bool]| StageNeeds {
            norm: needs[0] || needs[1],
            weight: needs[2],
            bias: needs.get(3).is_some_and(|&bias| bias),
        };
        let stages: Vec<StageNeeds> = stages.chunks_exact(self.parameters()).map(stage).collect();
        let layer = |stages: &[StageNeeds]| LayerNeeds { reader: stages[0], inner: stages.get(1).copied() };
        Needs { input: input.contains(&true), layers: stages.chunks_exact(self.stages()).map(layer).collect() }
    }
}

struct BlockFunction {
    shape: Shape,
    epsilon: f64,
    memory: Memory,
    /// What is dropped from each stage's output.
    dropped: Vec<Option<DropMask>>,
    /// Fixed ones, or those of the batch once they are known.
    statistics: Option<Statistics>,
    /// The images that each layer worked on together in the forward pass.
    groups: Vec<Vec<Range<i64>>>,
}

impl BlockFunction {
    fn layers(&self, tensors: &[Tensor]) -> Vec<Layer> {
        let stage = |(tensors, &dropped): (&[Tensor], &Option<DropMask>)| Stage {
            gamma: tensors[0].shallow_clone(),
            beta: tensors[1].shallow_clone(),
            weight: tensors[2].shallow_clone(),
            bias: tensors.get(3).map(Tensor::shallow_clone),
            dropped,
        };
        let mut stages = tensors.chunks_exact(self.shape.parameters()).zip(&self.dropped).map(stage);
        let layer = || {
            let reader = stages.next()?;
            let inner = if self.shape.has_inner { stages.next() } else { None };
            Some(Layer { reader, inner })
        };
        std::iter::from_fn(layer).collect()
    }
}

impl Function for BlockFunction {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let (given, parameters) = inputs[1..].split_at(if self.shape.given { 2 } else { 0 });
        let layers = self.layers(parameters);
        let statistics = match given {
            [mean, rstd] => {
                let of_input = ChannelStatistics::of(mean, rstd);
                Some(Statistics { features: OfFeatures::Batch(of_input), inner: Vec::new() })
            }
            _ => self.statistics.take(),
        };
        let x = &inputs[0];
        let made = by_kind!(x, T => forward::<T>(x, statistics, &layers, self.epsilon, self.memory))?;
        let Made { features, statistics, inner } = made;
        self.groups = layers.iter().map(|layer| layer.groups(&features)).collect();
        let mut saved = vec![features.shallow_clone()];
        saved.extend(parameters.iter().map(Tensor::shallow_clone));
        saved.extend(inner.into_iter().flatten());
        let mut outputs = vec![features];
        if let OfFeatures::Batch(of_features) = &statistics.features {
            for statistics in [of_features].into_iter().chain(&statistics.inner) {
                outputs.extend(statistics.tensors(x));
            }
        }
        self.statistics = Some(statistics);
        Ok(Forward { outputs, saved })
    }

    /// The statistics of what lies between stages are only for the running ones.
    fn is_differentiable(&self, output: usize) -> bool {
        output < 3
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (features, saved) = saved.split_first().expect("features were saved first");
        let (parameters, mut values) = saved.split_at(self.dropped.len() * self.shape.parameters());
        let layers = self.layers(parameters);
        let mut inner = Vec::new();
        if !values.is_empty() {
            for groups in &self.groups {
                let (own, rest) = values.split_at(groups.len());
                inner.push(own.iter().map(Tensor::shallow_clone).collect());
                values = rest;
            }
        }
        let statistics = self.statistics.as_ref().expect("the forward pass left them");
        let left = Left {
            features,
            statistics,
            given: self.shape.given,
            layers: &layers,
            inner: &inner,
            groups: &self.groups,
        };
        let mut gradients = gradients.into_iter();
        let mut next = || gradients.next().flatten();
        let arriving = Arriving { features: next(), mean: next(), rstd: next() };
        let gradients = by_kind!(features, T => backward::<T>(&left, arriving, &self.shape.needs(needs)))?;
        let mut results = vec![gradients.x];
        if self.shape.given {
            results.extend(gradients.statistics.map_or([None, None], |statistics| statistics.map(Some)));
        }
        for stage in gradients.stages {
            results.extend([stage.gamma, stage.beta, stage.weight]);
            results.extend(self.shape.has_bias.then_some(stage.bias));
        }
        Ok(results)
    }
}
