//! Through a dense block.

use super::block::{Layer, OfFeatures, Scratch, Statistics, part};
use super::norm::{ChannelStatistics, Norm};
use super::passes::{self, like, sizes};
use crate::Result;
use crate::kernels::Moments;
use crate::nn::Memory;
use crate::torch::{Number, to_channels_last};
use tch::Tensor;

/// What a block made.
pub(super) struct Made {
    /// `[N, C + layers·k, H, W]`.
    pub features: Tensor,
    pub statistics: Statistics,
    /// What lies between the stages of each bottleneck layer, group by group, where it is kept.
    pub inner: Vec<Vec<Tensor>>,
}

/// Runs the block on `x`. `statistics` are fixed, or those of `x`, and are then extended to all features.
pub(super) fn forward<T: Number>(
    x: &Tensor,
    statistics: Option<Statistics>,
    layers: &[Layer],
    epsilon: f64,
    memory: Memory,
) -> Result<Made> {
    let x = to_channels_last(x)?;
    let added: usize = layers.iter().map(|layer| layer.writer().outputs()).sum();
    let mut features = like(&x, sizes(&x)[1] + added);
    let mut statistics = match statistics {
        Some(known) => {
            passes::write::<T>(&x, &mut features, 0);
            known
        }
        None => {
            let moments = passes::write_with_moments::<T>(&x, &mut features, 0);
            let of_x = ChannelStatistics::new(&moments, epsilon);
            Statistics { features: OfFeatures::Batch(of_x), inner: Vec::new() }
        }
    };
    let groups: Vec<_> = layers.iter().map(|layer| layer.groups(&features)).collect();
    let scratch = Scratch::new(&features, layers, &groups);
    let mut kept = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let reader = &layer.reader;
        let norm = Norm::new(&reader.gamma, &reader.beta, statistics.features.of_layer(number));
        let kernels = reader.kernels(x.kind())?;
        let groups = &groups[number];
        let mut slot = Slot { first: reader.inputs(), moments: Vec::new() };
        let of_batch = matches!(statistics.features, OfFeatures::Batch(_));
        match &layer.inner {
            None => {
                for images in groups {
                    let mut features = part(&features, images);
                    let y = reader.output::<T>(&features, &norm, &kernels, images, &scratch)?;
                    slot.write::<T>(&y, &mut features, of_batch);
                }
            }
            Some(inner) => {
                let mut moments = Vec::new();
                let mut values = Vec::with_capacity(groups.len());
                for images in groups {
                    let y = reader.output::<T>(&part(&features, images), &norm, &kernels, images, &scratch)?;
                    if of_batch {
                        moments.push(passes::moments::<T>(&y));
                    }
                    values.push(y);
                }
                if of_batch {
                    statistics.inner.push(ChannelStatistics::new(&Moments::merged(moments), epsilon));
                }
                let norm = Norm::new(&inner.gamma, &inner.beta, &statistics.inner[number]);
                let kernels = inner.kernels(x.kind())?;
                for (images, values) in groups.iter().zip(&values) {
                    let y = inner.output::<T>(values, &norm, &kernels, images, &scratch)?;
                    slot.write::<T>(&y, &mut part(&features, images), of_batch);
                }
                if memory == Memory::Keep {
                    kept.push(values);
                }
            }
        }
        if let OfFeatures::Batch(statistics) = &mut statistics.features {
            statistics.extend(ChannelStatistics::new(&Moments::merged(slot.moments), epsilon));
        }
    }
    Ok(Made { features, statistics, inner: kept })
}

/// The channels that a layer writes.
struct Slot {
    first: usize,
    moments: Vec<Moments>,
}

impl Slot {
    fn write<T: Number>(&mut self, y: &Tensor, features: &mut Tensor, with_moments: bool) {
        match with_moments {
            true => self.moments.push(passes::write_with_moments::<T>(y, features, self.first)),
            false => passes::write::<T>(y, features, self.first),
        }
    }
}
