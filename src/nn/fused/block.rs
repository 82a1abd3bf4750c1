//! A dense block of plain layers: one buffer for all features, statistics computed once a channel, normalised values made
//! again in the backward pass instead of kept.

use super::norm::{ChannelStatistics, Norm, numbers, tensor, wide_kind};
use super::passes::{self, Correction, ReaderSums, like, sizes};
use crate::kernels::{DropMask, GradientSums, Moments};
use crate::torch::{Number, OfConvolution, convolution_backward, threads, to_channels_last, writable_channels_last};
use crate::{Error, Result};
use std::ops::Range;
use tch::{Kind, Tensor};

/// The parameters of one layer, and what is dropped from its output.
#[derive(Debug)]
pub(super) struct Layer {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub dropped: Option<DropMask>,
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
    let scratch = Scratch::new(&features, channels - growth);
    for (number, layer) in layers.iter().enumerate() {
        let read = layer.gamma.numel();
        let norm = Norm::new(&layer.gamma, &layer.beta, statistics.of_layer(number));
        let mut moments = Vec::new();
        let kernels = to_channels_last(&layer.weight.to_kind(x.kind()))?;
        let bias = layer.bias.as_ref().map(|bias| bias.to_kind(x.kind()));
        for images in groups(n, read * h * w) {
            let mut features = part(&features, &images);
            let mut normalized = scratch.like(&features, read);
            passes::norm_relu::<T>(&features, &norm, &mut normalized);
            let y = normalized
                .f_conv2d(&kernels, bias.as_ref(), [1, 1], [1, 1], [1, 1], 1)
                .map_err(|error| Error::Libtorch { what: "convolution", message: error.to_string() })?;
            let y = match layer.dropped {
                None => to_channels_last(&y)?,
                Some(mask) => {
                    let mut y = writable_channels_last(y)?;
                    passes::drop::<T>(&mut y, place(&images, &[growth, h, w]), mask);
                    y
                }
            };
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

/// Which gradients are needed.
pub(super) struct Needs {
    /// Of the block's input or its statistics.
    pub input: bool,
    pub layers: Vec<LayerNeeds>,
}

/// Which gradients of a layer's parameters are needed.
#[derive(Clone, Copy)]
pub(super) struct LayerNeeds {
    /// Of γ or β.
    pub norm: bool,
    pub weight: bool,
    pub bias: bool,
}

impl Needs {
    /// Whether gradients have to go back through the convolution of a layer.
    fn through(&self, layer: usize) -> bool {
        self.layers[layer].norm || self.above(layer)
    }

    /// Whether anything is needed of what a layer reads.
    fn above(&self, layer: usize) -> bool {
        self.input || self.layers[..layer].iter().any(|layer| layer.norm || layer.weight || layer.bias)
    }
}

/// The gradients of a block's inputs; of those that are not needed, some.
pub(super) struct Gradients {
    pub x: Option<Tensor>,
    /// Of the mean and 1/√(var + ε) of `x`, where they were given.
    pub statistics: Option<[Tensor; 2]>,
    pub layers: Vec<LayerGradients>,
}

/// The gradients of a layer's parameters.
#[derive(Default)]
pub(super) struct LayerGradients {
    pub gamma: Option<Tensor>,
    pub beta: Option<Tensor>,
    pub weight: Option<Tensor>,
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
    needs: &Needs,
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
    let scratch = Scratch::new(features, channels - growth);
    for (number, layer) in layers.iter().enumerate().rev() {
        let (needed, through) = (needs.layers[number], needs.through(number));
        if !(through || needed.weight || needed.bias) {
            gradients.push(LayerGradients::default());
            continue;
        }
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
            let mut sums = passes::correct::<T>(&gradient, &features, &correction, &mut new);
            if let Some(mask) = layer.dropped {
                passes::drop::<T>(&mut new, place(&images, &[growth, h, w]), mask);
                sums = passes::moments::<T>(&new).sums();
            }
            bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
            if !through && !needed.weight {
                continue;
            }
            let mut normalized = scratch.like(&features, read);
            passes::norm_relu::<T>(&features, &norm, &mut normalized);
            let wanted = OfConvolution { input: through, weight: needed.weight };
            let conv = convolution_backward(&new, &normalized, &kernels, 1, wanted)?;
            weight = match (weight, conv.weight) {
                (Some(mut sum), Some(part)) => Some(sum.g_add_(&part)),
                (sum, part) => sum.or(part.map(|part| into_kind(part, wide))),
            };
            if let Some(upstream) = conv.input {
                let upstream = to_channels_last(&upstream)?;
                read_sums.add(&passes::accumulate::<T>(&upstream, &features, &norm, &mut gradient));
            }
        }
        if of_batch {
            sums.add(&read_sums, &norm);
        }
        let gamma: Vec<f64> = read_sums.scale.iter().zip(&norm.rstd).map(|(sum, rstd)| sum * rstd).collect();
        gradients.push(LayerGradients {
            gamma: Some(tensor(&gamma, features)),
            beta: Some(tensor(&read_sums.shift, features)),
            weight,
            bias: layer.bias.is_some().then(|| tensor(&bias, features)),
        });
    }
    gradients.reverse();
    if !needs.input {
        return Ok(Gradients { x: None, statistics: None, layers: gradients });
    }
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
    Ok(Gradients { x: Some(x), statistics, layers: gradients })
}

/// The same values in another kind; the same tensor where it is the same kind.
fn into_kind(tensor: Tensor, kind: Kind) -> Tensor {
    tensor.to_kind(kind)
}

/// How many normalised values a thread works on at a time: what is made of the features and lives only for a moment then
/// takes little memory. Fewer, so that it stayed in the cores' caches, were slower: a convolution's start costs more than that saves.
const VALUES_A_THREAD: usize = 1 << 21;

/// Memory for the normalised values of a group, whichever layer reads them. Of its own for each layer, growing from one to the next, it left
/// holes in the C library's heap that nothing fitted into: up to half as much memory again in a deep block.
struct Scratch(Tensor);

impl Scratch {
    /// For up to so many channels.
    fn new(features: &Tensor, channels: usize) -> Self {
        let [n, _, h, w] = sizes(features);
        // The fewer channels, the more pictures are in a group.
        let most =
            (1..=channels).map(|read| groups(n, read * h * w).next().map_or(0, |group| group.end as usize * read));
        let values = most.max().unwrap_or(0) * h * w;
        Scratch(Tensor::empty([values as i64], (features.kind(), features.device())))
    }

    /// So many channels of these pictures, in channels-last order.
    fn like(&self, pictures: &Tensor, channels: usize) -> Tensor {
        let [n, _, h, w] = sizes(pictures).map(|size| size as i64);
        let channels = channels as i64;
        self.0.narrow(0, 0, n * h * w * channels).view([n, h, w, channels]).permute([0, 3, 1, 2]).detach()
    }
}

/// Pictures that are worked on together, where each has so many normalised values. All threads get as many, as far as it goes.
fn groups(pictures: usize, values: usize) -> impl Iterator<Item = Range<i64>> {
    let even = 4 * threads();
    let group = (VALUES_A_THREAD * threads() / values.max(1) / even).max(1) * even;
    (0..pictures.max(1)).step_by(group).map(move |first| first as i64..pictures.min(first + group) as i64)
}

/// The place in its batch of the first value of these pictures of a size.
fn place(pictures: &Range<i64>, size: &[usize]) -> usize {
    pictures.start as usize * size.iter().product::<usize>()
}

/// Some pictures of a batch.
fn part(batch: &Tensor, pictures: &Range<i64>) -> Tensor {
    batch.narrow(0, pictures.start, pictures.end - pictures.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(size: &[i64], salt: f64) -> Tensor {
        (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, tch::Device::Cpu)) * 1.7 + salt).sin().view(size)
    }

    #[test]
    fn gradients_with_dropout_are_slopes() {
        let layer = |number: i64| Layer {
            gamma: numbers(&[2 + 3 * number], 1.0) + 1.5,
            beta: numbers(&[2 + 3 * number], 2.0),
            weight: numbers(&[3, 2 + 3 * number, 3, 3], 3.0),
            bias: Some(numbers(&[3], 4.0)),
            dropped: Some(DropMask::new(number as u64, 0.3)),
        };
        let layers = [0, 1, 2].map(layer);
        let x = numbers(&[2, 2, 3, 4], 5.0);
        let projection = numbers(&[2, 11, 3, 4], 6.0);
        let value = || {
            let (features, _) = forward::<f64>(&x, None, &layers, 1e-5).unwrap();
            (features * &projection).sum(Kind::Double).double_value(&[])
        };
        let (features, statistics) = forward::<f64>(&x, None, &layers, 1e-5).unwrap();
        assert!(features.narrow(1, 2, 9).eq(0.0).any().int64_value(&[]) == 1, "something is dropped");
        let arriving = Arriving { features: Some(projection.shallow_clone()), mean: None, rstd: None };
        let all = LayerNeeds { norm: true, weight: true, bias: true };
        let needs = Needs { input: true, layers: vec![all; 3] };
        let gradients = backward::<f64>(&features, &statistics, false, &layers, arriving, &needs).unwrap();
        let mut pairs = vec![(&x, gradients.x.unwrap())];
        for (layer, gradient) in layers.iter().zip(gradients.layers) {
            let bias = layer.bias.as_ref().unwrap();
            let gradients = [gradient.gamma, gradient.beta, gradient.weight, gradient.bias].map(Option::unwrap);
            pairs.extend([&layer.gamma, &layer.beta, &layer.weight, bias].into_iter().zip(gradients));
        }
        for (tensor, gradient) in pairs {
            let (values, gradient) = (tensor.view(-1), gradient.contiguous().view(-1));
            for index in 0..values.numel() as i64 {
                let mut entry = values.get(index);
                let middle = entry.double_value(&[]);
                let mut at = |moved: f64| {
                    let _ = entry.fill_(moved);
                    value()
                };
                let slope = (at(middle + 1e-5) - at(middle - 1e-5)) / 2e-5;
                at(middle);
                let own = gradient.double_value(&[index]);
                assert!((own - slope).abs() <= 1e-6 * (1.0 + slope.abs()), "{tensor:?}[{index}]: {own}, slope {slope}");
            }
        }
    }

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
