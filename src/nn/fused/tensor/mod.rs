//! The backend of libtorch's tensor operations, for GPUs. Statistics are tensors on the device, so that the host does
//! not wait for it.

mod backward;
mod norm;

use super::block::{
    Activations, Backend, Block, BlockStatistics, FeatureStatistics, GradOutputs, Gradients, NeedsGrad, Stage,
    wide_kind,
};
use crate::Result;
use crate::nn::{Memory, Statistics, drop_values};
use crate::torch::to_channels_last;
use norm::{Norm, statistics as batch_statistics};
use tch::Tensor;

/// Backend that computes dense blocks by libtorch's operations, on the device of the features.
pub(crate) struct TensorOperations;

impl Backend for TensorOperations {
    fn forward(
        &self,
        block: &Block,
        x: &Tensor,
        statistics: Option<BlockStatistics>,
        memory: Memory,
    ) -> Result<Activations> {
        Forward::new(block, &to_channels_last(x)?, statistics).run(memory)
    }

    fn backward(
        &self,
        block: &Block,
        saved: &Activations,
        grad_outputs: GradOutputs,
        needs_grad: &NeedsGrad,
    ) -> Result<Gradients> {
        backward::backward(block, saved, grad_outputs, needs_grad)
    }
}

/// Returns the first channels of features, without gaps in memory.
fn first_channels(features: &Tensor, count: usize) -> Result<Tensor> {
    to_channels_last(&features.narrow(1, 0, count as i64))
}

/// Convolves a stage's normalized input by its weight, and applies dropout.
fn stage_output(stage: &Stage, normalized: &Tensor) -> Result<Tensor> {
    let y = stage.convolve(normalized, &stage.weight_as(normalized.kind())?)?;
    to_channels_last(&drop_values(stage.mask, y))
}

/// The state of a forward pass.
struct Forward<'a> {
    block: &'a Block,
    features: Tensor,
    statistics: BlockStatistics,
}

impl<'a> Forward<'a> {
    fn new(block: &'a Block, x: &Tensor, statistics: Option<BlockStatistics>) -> Self {
        let (n, inputs, h, w) = x.size4().expect("features have four dimensions");
        let (channels, wide) = (block.out_channels() as i64, wide_kind(x));
        // Detached, so that it is no view: libtorch forbids writing into views that a function returns.
        let features = Tensor::empty([n, h, w, channels], (x.kind(), x.device())).permute([0, 3, 1, 2]).detach();
        features.narrow(1, 0, inputs).copy_(x);
        let numbers = || Tensor::empty([channels], (wide, x.device()));
        let batch = |of_x: Statistics| {
            let all = Statistics { mean: numbers(), rstd: numbers() };
            write(&all, &of_x, 0);
            BlockStatistics { features: FeatureStatistics::Batch(all), bottlenecks: Vec::new() }
        };
        let statistics = match statistics.map(|known| known.map(|statistics| statistics.to_kind(wide))) {
            Some(BlockStatistics { features: FeatureStatistics::Batch(of_x), .. }) => batch(of_x),
            Some(running) => running,
            None => batch(batch_statistics(x, block.epsilon)),
        };
        Forward { block, features, statistics }
    }

    fn run(mut self, memory: Memory) -> Result<Activations> {
        let layers = (0..self.block.layers.len()).map(|layer| self.layer(layer, memory));
        let bottlenecks = layers.collect::<Result<_>>()?;
        Ok(Activations { features: self.features, statistics: self.statistics, bottlenecks })
    }

    /// Computes the features of a layer into their slot. Returns the output of the first of two stages, if it is saved.
    fn layer(&mut self, number: usize, memory: Memory) -> Result<Vec<Tensor>> {
        let (layer, of_batch) = (&self.block.layers[number], self.statistics.batch().is_some());
        let mut saved = Vec::new();
        let reads = layer.first.in_channels();
        let x = first_channels(&self.features, reads)?;
        let norm = Norm::of(&layer.first, self.statistics.of_layer(number));
        let mut y = stage_output(&layer.first, &norm.relu(&x))?;
        if let Some(second) = &layer.second {
            if of_batch {
                self.statistics.bottlenecks.push(batch_statistics(&y, self.block.epsilon));
            }
            let norm = Norm::of(second, &self.statistics.bottlenecks[number]);
            let out = stage_output(second, &norm.relu(&y))?;
            if memory == Memory::Keep {
                saved.push(y);
            }
            y = out;
        }
        self.features.narrow(1, reads as i64, layer.last().out_channels() as i64).copy_(&y);
        if let Some(all) = self.statistics.batch() {
            write(all, &batch_statistics(&y, self.block.epsilon), reads);
        }
        Ok(saved)
    }
}

/// Copies the statistics of some channels into those of all channels.
fn write(all: &Statistics, some: &Statistics, first: usize) {
    for (all, some) in [(&all.mean, &some.mean), (&all.rstd, &some.rstd)] {
        all.narrow(0, first as i64, some.size()[0]).copy_(some);
    }
}
