//! A dense block of plain layers: one buffer for all features, statistics computed once a channel, normalised values made
//! again in the backward pass instead of kept.

use super::norm::{ChannelStatistics, Norm, numbers, tensor, wide_kind};
use super::passes::{self, Correction, ReaderSums, like, sizes};
use crate::kernels::{GradientSums, Moments};
use crate::torch::{Number, convolution_backward, threads, to_channels_last, writable_channels_last};
use crate::{Error, Result};
use std::ops::Range;
use tch::{Kind, Tensor};

/// The parameters of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

/// By which statistics the norms of a block normalise.
#[derive(Clone, Debug)]
pub(super) enum Statistics {
    /// Those of the batch, of all channels.
    Batch(ChannelStatistics),
    /// Fixed ones, which each layer has of its own.
    Fixed(Vec<ChannelStatistics>),
}

impl Statistics {
    fn of_layer(&self, layer: usize) -> &ChannelStatistics {
        match self {
            Statistics::Batch(statistics) => statistics,
            Statistics::Fixed(statistics) => &statistics[layer],
        }
    }
}

/// Runs the block on `x`: the features `[N, C + layers·k, H, W]`. `statistics` are fixed, or those of `x`, and are then
/// extended to all features.
pub(super) fn forward<T: Number>(
    x: &Tensor,
    statistics: Option<Statistics>,
    layers: &[Layer],
    epsilon: f64,
) -> Result<(Tensor, Statistics)> {
    let x = to_channels_last(x)?;
    let [n, inputs, h, w] = sizes(&x);
    let growth = sizes(&layers[0].weight)[0];
    let channels = inputs + layers.len() * growth;
    let mut features = like(&x, channels);
    let mut statistics = match statistics {
        Some(known) => {
            passes::write::<T>(&x, &mut features, 0);
            known
        }
        None => {
            let moments = passes::write_with_moments::<T>(&x, &mut features, 0);
            Statistics::Batch(ChannelStatistics::new(&moments, epsilon))
        }
    };
    for (number, layer) in layers.iter().enumerate() {
        let read = layer.gamma.numel();
        let norm = Norm::new(&layer.gamma, &layer.beta, statistics.of_layer(number));
        let mut moments = Vec::new();
        let kernels = to_channels_last(&layer.weight.to_kind(x.kind()))?;
        let bias = layer.bias.as_ref().map(|bias| bias.to_kind(x.kind()));
        for images in groups(n, read * h * w) {
            let mut features = part(&features, &images);
            let mut normalized = like(&features, read);
            passes::norm_relu::<T>(&features, &norm, &mut normalized);
            let y = normalized
                .f_conv2d(&kernels, bias.as_ref(), [1, 1], [1, 1], [1, 1], 1)
                .map_err(|error| Error::Libtorch { what: "convolution", message: error.to_string() })?;
            let y = to_channels_last(&y)?;
            match &statistics {
                Statistics::Fixed(_) => passes::write::<T>(&y, &mut features, read),
                Statistics::Batch(_) => moments.push(passes::write_with_moments::<T>(&y, &mut features, read)),
            }
        }
        if let Statistics::Batch(statistics) = &mut statistics {
            statistics.extend(ChannelStatistics::new(&Moments::merged(moments), epsilon));
        }
    }
    Ok((features, statistics))
}

/// What arrives at a block's outputs in the backward pass.
pub(super) struct Arriving {
    pub features: Option<Tensor>,
    pub mean: Option<Tensor>,
    pub rstd: Option<Tensor>,
}

/// The gradients of a block's inputs.
pub(super) struct Gradients {
    pub x: Tensor,
    /// Of the mean and 1/√(var + ε) of `x`, where they were given.
    pub statistics: Option<[Tensor; 2]>,
    pub layers: Vec<LayerGradients>,
}

/// The gradients of a layer's parameters.
pub(super) struct LayerGradients {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

/// Takes gradients back through the block. `given` says whether the statistics of its input came with it: their gradients
/// then go back to where they came from.
pub(super) fn backward<T: Number>(
    features: &Tensor,
    statistics: &Statistics,
    given: bool,
    layers: &[Layer],
    arriving: Arriving,
) -> Result<Gradients> {
    let [n, channels, h, w] = sizes(features);
    let growth = sizes(&layers[0].weight)[0];
    let inputs = channels - layers.len() * growth;
    // Where features have few bits, their gradients, which are sums over all readers, have more.
    let wide = wide_kind(features);
    let gradient = match arriving.features {
        Some(arriving) => writable_channels_last(into_kind(arriving, wide))?,
        None => into_kind(to_channels_last(&features.zeros_like())?, wide),
    };
    // Fixed statistics do not depend on what they normalise: with sums of 0 nothing is corrected.
    let nothing = ChannelStatistics { mean: vec![0.0; channels], rstd: vec![1.0; channels] };
    let (batch, of_batch) = match statistics {
        Statistics::Batch(statistics) => (statistics, true),
        Statistics::Fixed(_) => (&nothing, false),
    };
    let [mean, rstd] = [&arriving.mean, &arriving.rstd].map(|tensor| tensor.as_ref().map(numbers));
    let mut sums = ReaderSums::of(mean.as_deref(), rstd.as_deref(), batch);
    let mut gradients = Vec::with_capacity(layers.len());
    for (number, layer) in layers.iter().enumerate().rev() {
        let read = layer.gamma.numel();
        let norm = Norm::new(&layer.gamma, &layer.beta, statistics.of_layer(number));
        let correction = Correction::new(read..read + growth, n * h * w, batch, &sums);
        let mut read_sums = GradientSums::zero(read);
        let mut bias = vec![0.0; growth];
        let kernels = to_channels_last(&layer.weight.to_kind(features.kind()))?;
        let mut weight: Option<Tensor> = None;
        for images in groups(n, read * h * w) {
            let (features, mut gradient) = (part(features, &images), part(&gradient, &images));
            let mut new = like(&features, growth);
            let sums = passes::correct::<T>(&gradient, &features, &correction, &mut new);
            bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
            let mut normalized = like(&features, read);
            passes::norm_relu::<T>(&features, &norm, &mut normalized);
            let conv = convolution_backward(&new, &normalized, &kernels, 1)?;
            weight = Some(match weight {
                None => into_kind(conv.weight, wide),
                Some(mut sum) => sum.g_add_(&conv.weight),
            });
            read_sums.add(&passes::accumulate::<T>(&to_channels_last(&conv.input)?, &features, &norm, &mut gradient));
        }
        if of_batch {
            sums.add(&read_sums, &norm);
        }
        let gamma: Vec<f64> = read_sums.scale.iter().zip(&norm.rstd).map(|(sum, rstd)| sum * rstd).collect();
        gradients.push(LayerGradients {
            gamma: tensor(&gamma, features),
            beta: tensor(&read_sums.shift, features),
            weight: weight.expect("there are pictures"),
            bias: layer.bias.is_some().then(|| tensor(&bias, features)),
        });
    }
    gradients.reverse();
    let mut x = like(features, inputs);
    let own = ReaderSums { shift: vec![0.0; inputs], scale: vec![0.0; inputs] };
    let correction = Correction::new(0..inputs, n * h * w, batch, if given { &own } else { &sums });
    passes::correct::<T>(&gradient, features, &correction, &mut x);
    let statistics = given.then(|| {
        let rstd = &batch.rstd[..inputs];
        let mean: Vec<f64> = sums.shift.iter().zip(rstd).map(|(sum, rstd)| -sum * rstd).collect();
        let rstd: Vec<f64> = sums.scale.iter().zip(rstd).map(|(sum, rstd)| sum / rstd).collect();
        [tensor(&mean, features), tensor(&rstd, features)]
    });
    Ok(Gradients { x, statistics, layers: gradients })
}

/// The same values in another kind; the same tensor where it is the same kind.
fn into_kind(tensor: Tensor, kind: Kind) -> Tensor {
    tensor.to_kind(kind)
}

/// How many normalised values a thread works on at a time: what is made of the features and lives only for a moment then
/// takes little memory. Fewer, so that it stayed in the cores' caches, were slower: a convolution's start costs more than that saves.
const VALUES_A_THREAD: usize = 1 << 21;

/// Pictures that are worked on together, where each has so many normalised values. All threads get as many, as far as it goes.
fn groups(pictures: usize, values: usize) -> impl Iterator<Item = Range<i64>> {
    let even = 4 * threads();
    let group = (VALUES_A_THREAD * threads() / values.max(1) / even).max(1) * even;
    (0..pictures.max(1)).step_by(group).map(move |first| first as i64..pictures.min(first + group) as i64)
}

/// Some pictures of a batch.
fn part(batch: &Tensor, pictures: &Range<i64>) -> Tensor {
    batch.narrow(0, pictures.start, pictures.end - pictures.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_all_pictures_once() {
        for (pictures, values) in [(1, 10), (64, 1 << 17), (64, 1 << 30), (7, 1 << 20), (1000, 3)] {
            let groups: Vec<_> = groups(pictures, values).collect();
            assert_eq!((groups[0].start, groups[groups.len() - 1].end), (0, pictures as i64));
            assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
        assert!(groups(64, 1 << 30).count() > 1);
    }
}
