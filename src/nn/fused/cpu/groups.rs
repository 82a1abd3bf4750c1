//! Groups of images that a layer processes together, and the memory that they share.

use super::passes::sizes;
use crate::nn::fused::block::{Block, Layer};
use crate::torch::threads;
use std::ops::Range;
use tch::Tensor;

/// Number of normalized values that a thread processes at a time. Smaller groups, which fit into the cores' caches,
/// were slower: starting more convolutions costs more than the caches save.
const VALUES_PER_THREAD: usize = 1 << 21;

/// Returns the groups of images that each layer processes together. Where the forward pass `saved` the outputs of
/// bottlenecks, its groups are used again; the number of threads may have changed since.
pub(super) fn groups_of(block: &Block, features: &Tensor, saved: &[Vec<Tensor>]) -> Vec<Vec<Range<i64>>> {
    let [n, _, h, w] = sizes(features);
    let of_layer = |(number, layer): (usize, &Layer)| match saved.get(number).map(Vec::as_slice) {
        None | Some([]) => groups(n, widest(layer) * h * w).collect(),
        Some(parts) => {
            let mut first = 0;
            let group = |part: &Tensor| {
                let images = first..first + part.size()[0];
                first = images.end;
                images
            };
            parts.iter().map(group).collect()
        }
    };
    block.layers.iter().enumerate().map(of_layer).collect()
}

/// Returns the largest number of channels that a stage of the layer reads.
fn widest(layer: &Layer) -> usize {
    layer.first.in_channels().max(layer.last().in_channels())
}

/// Divides `images` images with `values` normalized values each into ranges. As far as possible all threads get the
/// same number.
fn groups(images: usize, values: usize) -> impl Iterator<Item = Range<i64>> {
    let even = 4 * threads();
    let group = (VALUES_PER_THREAD * threads() / values.max(1) / even).max(1) * even;
    (0..images.max(1)).step_by(group).map(move |first| first as i64..images.min(first + group) as i64)
}

/// Returns the images of a group as a view of the batch.
pub(super) fn part(batch: &Tensor, images: &Range<i64>) -> Tensor {
    batch.narrow(0, images.start, images.end - images.start)
}

/// Memory for the normalized values of a group, whichever layer reads them. A separate allocation for each layer,
/// growing from one to the next, fragmented the C library's heap: a deep block took up to half as much memory again.
pub(super) struct Scratch(Tensor);

impl Scratch {
    /// Allocates memory that is large enough for these groups of images in every layer.
    pub fn new(block: &Block, features: &Tensor, groups: &[Vec<Range<i64>>]) -> Self {
        let [.., h, w] = sizes(features);
        let most = block.layers.iter().zip(groups).map(|(layer, groups)| groups[0].end as usize * widest(layer));
        let values = most.max().unwrap_or(0) * h * w;
        Scratch(Tensor::empty([values as i64], (features.kind(), features.device())))
    }

    /// Returns memory for `channels` channels of these images, in channels-last memory format.
    pub fn like(&self, images: &Tensor, channels: usize) -> Tensor {
        let [n, _, h, w] = sizes(images).map(|size| size as i64);
        let channels = channels as i64;
        self.0.narrow(0, 0, n * h * w * channels).view([n, h, w, channels]).permute([0, 3, 1, 2]).detach()
    }
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
