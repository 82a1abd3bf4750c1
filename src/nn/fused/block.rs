//! A dense block as the fused engine sees it: one buffer for all features, statistics computed once a channel, normalized values
//! made again in the backward pass instead of kept.

use super::norm::{ChannelStatistics, Norm};
use super::passes::{self, sizes};
use crate::kernels::DropMask;
use crate::torch::{Number, threads, to_channels_last, writable_channels_last};
use crate::{Error, Result};
use std::ops::Range;
use tch::{Kind, Tensor};

/// Norm → ReLU → convolution, and what is dropped from its output.
#[derive(Debug)]
pub(super) struct Stage {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub dropped: Option<DropMask>,
}

impl Stage {
    /// Channels that it reads.
    pub fn inputs(&self) -> usize {
        self.gamma.numel()
    }

    /// Channels that it writes.
    pub fn outputs(&self) -> usize {
        sizes(&self.weight)[0]
    }

    /// Pixels of padding that keep the size.
    pub fn padding(&self) -> i64 {
        sizes(&self.weight)[2] as i64 / 2
    }

    /// The convolution's kernels as features of this kind are convolved.
    pub fn kernels(&self, kind: Kind) -> Result<Tensor> {
        to_channels_last(&self.weight.to_kind(kind))
    }

    /// What it makes of some images.
    pub fn output<T: Number>(
        &self,
        x: &Tensor,
        norm: &Norm<T::Wide>,
        kernels: &Tensor,
        images: &Range<i64>,
        scratch: &Scratch,
    ) -> Result<Tensor> {
        let mut normalized = scratch.like(x, self.inputs());
        passes::norm_relu::<T>(x, norm, &mut normalized);
        let (bias, padding) = (self.bias.as_ref().map(|bias| bias.to_kind(x.kind())), self.padding());
        let y = normalized
            .f_conv2d(kernels, bias.as_ref(), [1, 1], [padding, padding], [1, 1], 1)
            .map_err(|error| Error::Libtorch { what: "convolution", message: error.to_string() })?;
        match self.dropped {
            None => to_channels_last(&y),
            Some(mask) => {
                let mut y = writable_channels_last(y)?;
                let place = place(images, &y);
                passes::drop::<T>(&mut y, place, mask);
                Ok(y)
            }
        }
    }
}

/// A layer: the stage that reads the features, and in a bottleneck layer a second one that reads what the first wrote. The last one
/// writes new features.
#[derive(Debug)]
pub(super) struct Layer {
    pub reader: Stage,
    pub inner: Option<Stage>,
}

impl Layer {
    /// The stage that writes new features.
    pub fn writer(&self) -> &Stage {
        self.inner.as_ref().unwrap_or(&self.reader)
    }

    /// The most channels that a stage of it reads.
    pub fn widest(&self) -> usize {
        self.reader.inputs().max(self.writer().inputs())
    }

    /// Images of features like these that its stages work on together.
    pub fn groups(&self, features: &Tensor) -> Vec<Range<i64>> {
        let [n, _, h, w] = sizes(features);
        groups(n, self.widest() * h * w).collect()
    }
}

/// By which statistics the norms of a block normalize.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// Of the features.
    pub features: OfFeatures,
    /// Of what lies between the stages of bottleneck layers, one for each.
    pub inner: Vec<ChannelStatistics>,
}

/// Statistics of a block's features.
#[derive(Clone, Debug)]
pub(super) enum OfFeatures {
    /// Those of the batch, of all channels.
    Batch(ChannelStatistics),
    /// Fixed ones, which each layer has of its own.
    Fixed(Vec<ChannelStatistics>),
}

impl OfFeatures {
    pub fn of_layer(&self, layer: usize) -> &ChannelStatistics {
        match self {
            OfFeatures::Batch(statistics) => statistics,
            OfFeatures::Fixed(statistics) => &statistics[layer],
        }
    }
}

/// How many normalized values a thread works on at a time: what is made of the features and lives only for a moment then
/// takes little memory. Fewer, so that it stayed in the cores' caches, were slower: a convolution's start costs more than that saves.
const VALUES_A_THREAD: usize = 1 << 21;

/// Memory for the normalized values of a group, whichever layer reads them. Of its own for each layer, growing from one to the next, it left
/// holes in the C library's heap that nothing fitted into: up to half as much memory again in a deep block.
pub(super) struct Scratch(Tensor);

impl Scratch {
    /// For these groups of images, whichever of the layers works on them.
    pub fn new(features: &Tensor, layers: &[Layer], groups: &[Vec<Range<i64>>]) -> Self {
        let [.., h, w] = sizes(features);
        let most = layers.iter().zip(groups).map(|(layer, groups)| groups[0].end as usize * layer.widest());
        let values = most.max().unwrap_or(0) * h * w;
        Scratch(Tensor::empty([values as i64], (features.kind(), features.device())))
    }

    /// So many channels of these images, in channels-last order.
    pub fn like(&self, images: &Tensor, channels: usize) -> Tensor {
        let [n, _, h, w] = sizes(images).map(|size| size as i64);
        let channels = channels as i64;
        self.0.narrow(0, 0, n * h * w * channels).view([n, h, w, channels]).permute([0, 3, 1, 2]).detach()
    }
}

/// Images that are worked on together, where each has so many normalized values. All threads get as many, as far as it goes.
fn groups(images: usize, values: usize) -> impl Iterator<Item = Range<i64>> {
    let even = 4 * threads();
    let group = (VALUES_A_THREAD * threads() / values.max(1) / even).max(1) * even;
    (0..images.max(1)).step_by(group).map(move |first| first as i64..images.min(first + group) as i64)
}

/// The place in its batch of the first value of these images.
pub(super) fn place(images: &Range<i64>, values: &Tensor) -> usize {
    images.start as usize * values.numel() / (images.end - images.start).max(1) as usize
}

/// Some images of a batch.
pub(super) fn part(batch: &Tensor, images: &Range<i64>) -> Tensor {
    batch.narrow(0, images.start, images.end - images.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_all_images_once() {
        for (images, values) in [(1, 10), (64, 1 << 17), (64, 1 << 30), (7, 1 << 20), (1000, 3)] {
            let groups: Vec<_> = groups(images, values).collect();
            assert_eq!((groups[0].start, groups[groups.len() - 1].end), (0, images as i64));
            assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
        assert!(groups(64, 1 << 30).count() > 1);
    }
}
