//! The forward pass of a dense block by the kernels.

use super::groups::{Scratch, groups_of, part};
use super::norm::HostStatistics;
use super::passes::{self, like};
use super::stage::CpuStage;
use crate::Result;
use crate::kernels::Moments;
use crate::nn::Memory;
use crate::nn::fused::block::{Activations, Block, BlockStatistics, FeatureStatistics};
use crate::torch::{Number, to_channels_last};
use std::ops::Range;
use tch::Tensor;

pub(super) fn forward<T: Number>(
    block: &Block,
    x: &Tensor,
    statistics: Option<BlockStatistics>,
    memory: Memory,
) -> Result<Activations> {
    let x = to_channels_last(x)?;
    let mut features = like(&x, block.out_channels());
    let statistics = match statistics {
        Some(known) => {
            passes::write::<T>(&x, &mut features, 0);
            known.map(HostStatistics::of)
        }
        None => {
            let moments = passes::write_with_moments::<T>(&x, &mut features, 0);
            let of_x = HostStatistics::of_moments(&moments, block.epsilon);
            BlockStatistics { features: FeatureStatistics::Batch(of_x), bottlenecks: Vec::new() }
        }
    };
    let groups = groups_of(block, &features, &[]);
    let scratch = Scratch::new(block, &features, &groups);
    let mut pass = Forward { block, features, statistics, scratch };
    let bottlenecks = groups.iter().enumerate().map(|(layer, groups)| pass.layer::<T>(layer, groups, memory));
    let bottlenecks = bottlenecks.collect::<Result<_>>()?;
    Ok(Activations { features: pass.features, statistics: pass.statistics.map(HostStatistics::tensors), bottlenecks })
}

/// The state of a forward pass.
struct Forward<'a> {
    block: &'a Block,
    features: Tensor,
    /// Statistics of the features that were computed so far.
    statistics: BlockStatistics<HostStatistics>,
    scratch: Scratch,
}

impl Forward<'_> {
    /// Computes the features of a layer into their slot. Returns the output of the first of two stages, if it is saved.
    fn layer<T: Number>(&mut self, number: usize, groups: &[Range<i64>], memory: Memory) -> Result<Vec<Tensor>> {
        let (layer, epsilon) = (&self.block.layers[number], self.block.epsilon);
        let mut saved = Vec::new();
        let first = CpuStage::<T>::new(&layer.first, self.statistics.of_layer(number))?;
        let mut slot = Slot::new(layer.first.in_channels(), self.statistics.batch().is_some());
        match &layer.second {
            None => {
                for images in groups {
                    let mut features = part(&self.features, images);
                    let y = first.output(&features, images, &self.scratch)?;
                    slot.write::<T>(&y, &mut features);
                }
            }
            Some(second) => {
                let bottleneck = first.outputs(&self.features, groups, &self.scratch)?;
                if self.statistics.batch().is_some() {
                    let moments = Moments::merged(bottleneck.iter().map(passes::moments::<T>));
                    self.statistics.bottlenecks.push(HostStatistics::of_moments(&moments, epsilon));
                }
                let second = CpuStage::<T>::new(second, &self.statistics.bottlenecks[number])?;
                for (images, values) in groups.iter().zip(&bottleneck) {
                    let y = second.output(values, images, &self.scratch)?;
                    slot.write::<T>(&y, &mut part(&self.features, images));
                }
                if memory == Memory::Keep {
                    saved = bottleneck;
                }
            }
        }
        if let FeatureStatistics::Batch(statistics) = &mut self.statistics.features {
            statistics.extend(HostStatistics::of_moments(&Moments::merged(slot.moments), epsilon));
        }
        Ok(saved)
    }
}

/// The channels that a layer writes, and their moments where norms use batch statistics.
struct Slot {
    first: usize,
    has_moments: bool,
    moments: Vec<Moments>,
}

impl Slot {
    fn new(first: usize, has_moments: bool) -> Self {
        Slot { first, has_moments, moments: Vec::new() }
    }

    fn write<T: Number>(&mut self, y: &Tensor, features: &mut Tensor) {
        match self.has_moments {
            true => self.moments.push(passes::write_with_moments::<T>(y, features, self.first)),
            false => passes::write::<T>(y, features, self.first),
        }
    }
}
