//! The dense block as one autograd function, whichever backend computes it.

use super::block::{
    Activations, Backend, Block, BlockStatistics, FeatureStatistics, GradOutputs, Gradients, Layer, LayerNeedsGrad,
    NeedsGrad, Stage, StageNeedsGrad, wide_kind,
};
use super::update_running;
use crate::Result;
use crate::kernels::DropMask;
use crate::nn::{Features, ForwardContext, Memory, NormRelu, Statistics};
use crate::torch::{Forward, Function};
use tch::Tensor;
use tch::nn::Conv2D;

/// The modules of a stage: norm → ReLU → convolution, and the dropout of its output in this pass.
pub(crate) struct StageModules<'a> {
    pub norm: &'a NormRelu,
    pub conv: &'a Conv2D,
    pub mask: Option<DropMask>,
}

/// The modules of a layer: one stage, or two in a bottleneck layer.
pub(crate) struct LayerModules<'a> {
    pub stages: Vec<StageModules<'a>>,
}

/// Appends the features of layers, which are all of one kind, to `features`, and updates the running statistics of
/// their norms.
pub(crate) fn dense_block(
    backend: &'static dyn Backend,
    features: Features,
    layers: &[LayerModules],
    ctx: &ForwardContext,
) -> Result<Features> {
    let [first, ..] = layers else { return Ok(features) };
    let epsilon = first.stages[0].norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let input_statistics = features.statistics(epsilon).filter(|_| train);
    let stages = || layers.iter().flat_map(|layer| &layer.stages);
    let mut inputs = vec![&features.data];
    inputs.extend(input_statistics.iter().flat_map(|statistics| [&statistics.mean, &statistics.rstd]));
    for StageModules { norm, conv, .. } in stages() {
        inputs.extend([&norm.weight, &norm.bias, &conv.ws].into_iter().chain(&conv.bs));
    }
    let function = BlockFunction {
        backend,
        memory: ctx.memory,
        shape: Shape {
            has_bias: first.stages[0].conv.bs.is_some(),
            has_second: first.stages.len() == 2,
            has_input_statistics: input_statistics.is_some(),
        },
        epsilon,
        masks: stages().map(|stage| stage.mask).collect(),
        running: (!train).then(|| running(layers, epsilon)),
        parts: Vec::new(),
    };
    let mut outputs = function.apply(&inputs)?.into_iter();
    let data = outputs.next().expect("features come first");
    let mut next = || outputs.next().zip(outputs.next()).map(|(mean, rstd)| Statistics { mean, rstd });
    let statistics = next();
    if let Some(statistics) = &statistics {
        for LayerModules { stages } in layers {
            update_running(stages[0].norm, statistics, &data);
            if let Some((second, statistics)) = stages.get(1).zip(next()) {
                update_running(second.norm, &statistics, &data);
            }
        }
    }
    Ok(match statistics {
        Some(statistics) => Features::with_statistics(data, statistics, epsilon),
        None => Features::new(data),
    })
}

/// Returns the running statistics of all norms.
fn running(layers: &[LayerModules], epsilon: f64) -> BlockStatistics {
    let of = |stage: &StageModules| Statistics::running(&stage.norm.running_mean, &stage.norm.running_var, epsilon);
    BlockStatistics {
        features: FeatureStatistics::Running(layers.iter().map(|layer| of(&layer.stages[0])).collect()),
        bottlenecks: layers.iter().filter_map(|layer| layer.stages.get(1).map(of)).collect(),
    }
}

/// The order of the function's inputs: features, their statistics, and each stage's γ, β, weight and bias.
struct Shape {
    has_bias: bool,
    /// Whether a layer has two stages.
    has_second: bool,
    /// Whether the statistics of the input are inputs too.
    has_input_statistics: bool,
}

impl Shape {
    /// Returns the number of parameters of a stage.
    fn parameters(&self) -> usize {
        3 + usize::from(self.has_bias)
    }

    /// Returns the number of stages of a layer.
    fn stages(&self) -> usize {
        1 + usize::from(self.has_second)
    }

    /// Returns the number of inputs before the parameters.
    fn first_parameter(&self) -> usize {
        1 + 2 * usize::from(self.has_input_statistics)
    }

    fn needs_grad(&self, needs: &[bool]) -> NeedsGrad {
        let (input, parameters) = needs.split_at(self.first_parameter());
        let stage = |needs: &[bool]| StageNeedsGrad {
            norm: needs[0] || needs[1],
            weight: needs[2],
            bias: needs.get(3).is_some_and(|&bias| bias),
        };
        let layer = |needs: &[bool]| {
            let mut stages = needs.chunks_exact(self.parameters()).map(stage);
            LayerNeedsGrad { first: stages.next().expect("a layer has a stage"), second: stages.next() }
        };
        let layers = parameters.chunks_exact(self.stages() * self.parameters()).map(layer);
        NeedsGrad { input: input.contains(&true), layers: layers.collect() }
    }

    /// Returns the gradients in the order of the inputs.
    fn in_order(&self, gradients: Gradients) -> Vec<Option<Tensor>> {
        let mut ordered = vec![gradients.x];
        if self.has_input_statistics {
            ordered.extend(match gradients.statistics {
                Some(Statistics { mean, rstd }) => [Some(mean), Some(rstd)],
                None => [None, None],
            });
        }
        for layer in gradients.layers {
            for stage in [layer.first, layer.second].into_iter().take(self.stages()) {
                ordered.extend([stage.gamma, stage.beta, stage.weight, stage.bias].into_iter().take(self.parameters()));
            }
        }
        ordered
    }
}

struct BlockFunction {
    backend: &'static dyn Backend,
    memory: Memory,
    shape: Shape,
    epsilon: f64,
    /// The dropout of each stage.
    masks: Vec<Option<DropMask>>,
    /// Running statistics until the forward pass takes them; `None` where norms use batch statistics.
    running: Option<BlockStatistics>,
    /// The number of parts in which the forward pass saved the first stage's output of each layer.
    parts: Vec<usize>,
}

impl BlockFunction {
    fn block(&self, parameters: &[Tensor]) -> Block {
        let stage = |(tensors, &mask): (&[Tensor], &Option<DropMask>)| Stage {
            gamma: tensors[0].shallow_clone(),
            beta: tensors[1].shallow_clone(),
            weight: tensors[2].shallow_clone(),
            bias: tensors.get(3).map(Tensor::shallow_clone),
            mask,
        };
        let mut stages = parameters.chunks_exact(self.shape.parameters()).zip(&self.masks).map(stage);
        let mut layers = Vec::with_capacity(self.masks.len() / self.shape.stages());
        while let Some(first) = stages.next() {
            layers.push(Layer { first, second: if self.shape.has_second { stages.next() } else { None } });
        }
        Block { layers, epsilon: self.epsilon, has_input_statistics: self.shape.has_input_statistics }
    }

    /// Returns all saved tensors in one list: the parameters, the features, their statistics, and the first stages' outputs.
    fn save(&mut self, parameters: &[Tensor], activations: Activations) -> Vec<Tensor> {
        let mut row: Vec<Tensor> = parameters.iter().map(Tensor::shallow_clone).collect();
        row.push(activations.features);
        for Statistics { mean, rstd } in activations.statistics.iter() {
            row.extend([mean.shallow_clone(), rstd.shallow_clone()]);
        }
        for parts in activations.bottlenecks {
            self.parts.push(parts.len());
            row.extend(parts);
        }
        row
    }

    /// Restores the block and its activations from the list that [`save`](Self::save) returned.
    fn restore(&self, row: Vec<Tensor>, of_batch: bool) -> (Block, Activations) {
        let mut row = row.into_iter();
        let parameters: Vec<Tensor> = row.by_ref().take(self.masks.len() * self.shape.parameters()).collect();
        let block = self.block(&parameters);
        let mut next = || row.next().expect("as many tensors as were saved");
        let features = next();
        let mut statistics = |count| (0..count).map(|_| Statistics { mean: next(), rstd: next() }).collect::<Vec<_>>();
        let layers = block.layers.len();
        let statistics = BlockStatistics {
            features: match of_batch {
                true => FeatureStatistics::Batch(statistics(1).remove(0)),
                false => FeatureStatistics::Running(statistics(layers)),
            },
            bottlenecks: statistics(if self.shape.has_second { layers } else { 0 }),
        };
        let bottlenecks = self.parts.iter().map(|&count| row.by_ref().take(count).collect()).collect();
        (block, Activations { features, statistics, bottlenecks })
    }
}

impl Function for BlockFunction {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let (given, parameters) = inputs.split_at(self.shape.first_parameter());
        let statistics = match given {
            [_, mean, rstd] => Some(BlockStatistics {
                features: FeatureStatistics::Batch(Statistics {
                    mean: mean.shallow_clone(),
                    rstd: rstd.shallow_clone(),
                }),
                bottlenecks: Vec::new(),
            }),
            _ => self.running.take(),
        };
        let activations = self.backend.forward(&self.block(parameters), &given[0], statistics, self.memory)?;
        let mut outputs = vec![activations.features.shallow_clone()];
        if activations.statistics.batch().is_some() {
            let kind = wide_kind(&activations.features);
            outputs.extend(activations.statistics.iter().flat_map(|statistics| {
                let Statistics { mean, rstd } = statistics.to_kind(kind);
                [mean, rstd]
            }));
        }
        Ok(Forward { outputs, saved: self.save(parameters, activations) })
    }

    /// The bottlenecks' statistics serve only to update the running statistics.
    fn is_differentiable(&self, output: usize) -> bool {
        output < 3
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        // With running statistics the features are the only output.
        let (block, activations) = self.restore(saved, gradients.len() > 1);
        let mut gradients = gradients.into_iter();
        let mut next = || gradients.next().flatten();
        let grad_outputs = GradOutputs { features: next(), mean: next(), rstd: next() };
        let needs_grad = self.shape.needs_grad(needs);
        let gradients = self.backend.backward(&block, &activations, grad_outputs, &needs_grad)?;
        Ok(self.shape.in_order(gradients))
    }
}
