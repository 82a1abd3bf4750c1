//! A dense block of plain layers: one buffer for all features, statistics computed once a channel, normalised values made
//! again in the backward pass instead of kept.

use super::norm::{ChannelStatistics, Norm, numbers, tensor};
use super::passes::{self, ReaderSums, sizes};
use crate::torch::{Number, convolution_backward, empty_channels_last, is_channels_last, to_channels_last};
use crate::{Error, Result};
use tch::Tensor;

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
    let mut features = empty_channels_last([n, channels, h, w].map(|size| size as i64), x.kind());
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
    let mut scratch = Scratch::new(&features, channels - growth);
    for (number, layer) in layers.iter().enumerate() {
        let read = layer.gamma.numel();
        let norm = Norm::<T>::new(&layer.gamma, &layer.beta, statistics.of_layer(number));
        let mut normalized = scratch.channels(read);
        passes::norm_relu(&features, &norm, &mut normalized);
        let y = normalized
            .f_conv2d(&layer.weight, layer.bias.as_ref(), [1, 1], [1, 1], [1, 1], 1)
            .map_err(|error| Error::Libtorch { what: "convolution", message: error.to_string() })?;
        let y = to_channels_last(&y)?;
        match &mut statistics {
            Statistics::Fixed(_) => passes::write::<T>(&y, &mut features, read),
            Statistics::Batch(statistics) => {
                let moments = passes::write_with_moments::<T>(&y, &mut features, read);
                statistics.extend(ChannelStatistics::new(&moments, epsilon));
            }
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
    let mut gradient = match arriving.features {
        // It may be read by others too, so it is not written into.
        Some(arriving) if is_channels_last(&arriving) => arriving.copy(),
        Some(arriving) => to_channels_last(&arriving)?,
        None => to_channels_last(&features.zeros_like())?,
    };
    // Fixed statistics do not depend on what they normalise: with sums of 0 nothing is corrected.
    let nothing = ChannelStatistics { mean: vec![0.0; channels], rstd: vec![1.0; channels] };
    let (batch, of_batch) = match statistics {
        Statistics::Batch(statistics) => (statistics, true),
        Statistics::Fixed(_) => (&nothing, false),
    };
    let [mean, rstd] = [&arriving.mean, &arriving.rstd].map(|tensor| tensor.as_ref().map(numbers));
    let mut sums = ReaderSums::of(mean.as_deref(), rstd.as_deref(), batch);
    let mut scratch = Scratch::new(features, channels - growth);
    let mut new = empty_channels_last([n, growth, h, w].map(|size| size as i64), features.kind());
    let mut gradients = Vec::with_capacity(layers.len());
    for (number, layer) in layers.iter().enumerate().rev() {
        let read = layer.gamma.numel();
        passes::corrected::<T>(&gradient, features, read, batch, &sums, &mut new);
        let norm = Norm::<T>::new(&layer.gamma, &layer.beta, statistics.of_layer(number));
        let mut normalized = scratch.channels(read);
        passes::norm_relu(features, &norm, &mut normalized);
        let conv = convolution_backward(&new, &normalized, &layer.weight, layer.bias.is_some(), 1)?;
        let read_sums = passes::accumulate(&to_channels_last(&conv.input)?, features, &norm, &mut gradient);
        if of_batch {
            sums.add(&read_sums, &norm);
        }
        let gamma: Vec<f64> = read_sums.scale.iter().zip(&norm.rstd).map(|(sum, rstd)| sum * rstd).collect();
        gradients.push(LayerGradients {
            gamma: tensor(&gamma, features),
            beta: tensor(&read_sums.shift, features),
            weight: conv.weight,
            bias: conv.bias,
        });
    }
    gradients.reverse();
    let mut x = empty_channels_last([n, inputs, h, w].map(|size| size as i64), features.kind());
    let own = ReaderSums { shift: vec![0.0; inputs], scale: vec![0.0; inputs] };
    passes::corrected::<T>(&gradient, features, 0, batch, if given { &own } else { &sums }, &mut x);
    let statistics = given.then(|| {
        let rstd = &batch.rstd[..inputs];
        let mean: Vec<f64> = sums.shift.iter().zip(rstd).map(|(sum, rstd)| -sum * rstd).collect();
        let rstd: Vec<f64> = sums.scale.iter().zip(rstd).map(|(sum, rstd)| sum / rstd).collect();
        [tensor(&mean, features), tensor(&rstd, features)]
    });
    Ok(Gradients { x, statistics, layers: gradients })
}

/// Memory for normalised features, used again by every layer.
struct Scratch {
    memory: Tensor,
    pixels: [i64; 3],
}

impl Scratch {
    fn new(features: &Tensor, most_channels: usize) -> Self {
        let [n, _, h, w] = sizes(features).map(|size| size as i64);
        let memory = Tensor::empty([n * h * w * most_channels as i64], (features.kind(), features.device()));
        Scratch { memory, pixels: [n, h, w] }
    }

    /// A channels-last tensor of so many channels, of any content.
    fn channels(&mut self, channels: usize) -> Tensor {
        let ([n, h, w], c) = (self.pixels, channels as i64);
        self.memory.narrow(0, 0, n * h * w * c).view([n, h, w, c]).permute([0, 3, 1, 2])
    }
}
