//! Gradients back through a dense block.

use super::block::{Layer, OfFeatures, Scratch, Stage, Statistics, part, place};
use super::norm::{ChannelStatistics, Norm, numbers, tensor, wide_kind};
use super::passes::{self, Correction, ReaderSums, like, sizes};
use crate::Result;
use crate::kernels::GradientSums;
use crate::torch::{Number, OfConvolution, convolution_backward, to_channels_last, writable_channels_last};
use std::ops::Range;
use tch::{Kind, Tensor};

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
    pub reader: StageNeeds,
    pub inner: Option<StageNeeds>,
}

/// Which gradients of a stage's parameters are needed.
#[derive(Clone, Copy)]
pub(super) struct StageNeeds {
    /// Of γ or β.
    pub norm: bool,
    pub weight: bool,
    pub bias: bool,
}

impl StageNeeds {
    pub fn any(&self) -> bool {
        self.norm || self.weight || self.bias
    }
}

impl LayerNeeds {
    pub fn any(&self) -> bool {
        self.reader.any() || self.inner.is_some_and(|inner| inner.any())
    }
}

impl Needs {
    /// Whether anything is needed of what a layer reads.
    pub fn above(&self, layer: usize) -> bool {
        self.input || self.layers[..layer].iter().any(LayerNeeds::any)
    }
}

/// The gradients of a block's inputs; of those that are not needed, some.
pub(super) struct Gradients {
    pub x: Option<Tensor>,
    /// Of the mean and 1/√(var + ε) of `x`, where they were given.
    pub statistics: Option<[Tensor; 2]>,
    /// Of each layer's stages, one after the other.
    pub stages: Vec<StageGradients>,
}

/// The gradients of a stage's parameters.
#[derive(Default)]
pub(super) struct StageGradients {
    pub gamma: Option<Tensor>,
    pub beta: Option<Tensor>,
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
}

/// What the forward pass left.
pub(super) struct Left<'a> {
    pub features: &'a Tensor,
    pub statistics: &'a Statistics,
    /// Whether the statistics of the block's input came with it: their gradients then go back to where they came from.
    pub given: bool,
    pub layers: &'a [Layer],
    /// What lies between the stages of each bottleneck layer, where it was kept.
    pub inner: &'a [Vec<Tensor>],
    /// The images that each layer works on together.
    pub groups: &'a [Vec<Range<i64>>],
}

/// Takes gradients back through the block.
pub(super) fn backward<T: Number>(left: &Left, arriving: Arriving, needs: &Needs) -> Result<Gradients> {
    let Left { features, statistics, given, layers, .. } = *left;
    let [n, channels, h, w] = sizes(features);
    let inputs = layers[0].reader.inputs();
    // Where features have few bits, their gradients, which are sums over all readers, have more.
    let wide = wide_kind(features);
    let gradient = match arriving.features {
        Some(arriving) => writable_channels_last(into_kind(arriving, wide))?,
        None => into_kind(to_channels_last(&features.zeros_like())?, wide),
    };
    // Fixed statistics do not depend on what they normalize: with sums of 0 nothing is corrected.
    let nothing = ChannelStatistics { mean: vec![0.0; channels], rstd: vec![1.0; channels] };
    let (batch, of_batch) = match &statistics.features {
        OfFeatures::Batch(statistics) => (statistics, true),
        OfFeatures::Fixed(_) => (&nothing, false),
    };
    let [mean, rstd] = [&arriving.mean, &arriving.rstd].map(|tensor| tensor.as_ref().map(numbers));
    let mut sums = ReaderSums::of(mean.as_deref(), rstd.as_deref(), batch);
    let mut gradients = Vec::with_capacity(2 * layers.len());
    let scratch = Scratch::new(features, layers, left.groups);
    for (number, layer) in layers.iter().enumerate().rev() {
        let (needed, above) = (needs.layers[number], needs.above(number));
        if !(above || needed.any()) {
            gradients.extend(layer.inner.as_ref().map(|_| StageGradients::default()));
            gradients.push(StageGradients::default());
            continue;
        }
        let of_reader = statistics.features.of_layer(number);
        let mut reader = StageBackward::<T>::new(&layer.reader, of_reader, needed.reader, above, features.kind())?;
        let written = reader.norm.channels()..reader.norm.channels() + layer.writer().outputs();
        let correction = Correction::new(written.clone(), n * h * w, batch, &sums);
        // The gradient of what the layer wrote into some images, and its sums.
        let arrived = |images: &Range<i64>| {
            let mut new = like(&part(features, images), written.len());
            let sums = passes::correct::<T>(&part(&gradient, images), &part(features, images), &correction, &mut new);
            (new, sums)
        };
        let groups = &left.groups[number];
        match (&layer.inner, needed.inner) {
            (Some(inner), Some(inner_needed)) => {
                let own = &statistics.inner[number];
                let any = above || needed.reader.any();
                let mut writer = StageBackward::<T>::new(inner, own, inner_needed, any, features.kind())?;
                let again;
                let values = match left.inner.get(number) {
                    Some(kept) => kept,
                    None => {
                        again = reader.output(features, groups, &scratch)?;
                        &again
                    }
                };
                let mut arriving = Vec::with_capacity(groups.len());
                for (images, values) in groups.iter().zip(values) {
                    let (new, sums) = arrived(images);
                    if let Some(upstream) = writer.take(new, Some(sums), values, images, &scratch)? {
                        writer.sums.add(&passes::norm_sums::<T>(&upstream, values, &writer.norm));
                        arriving.push(upstream);
                    }
                }
                let mut readers = ReaderSums::of(None, None, own);
                if of_batch {
                    readers.add(&writer.sums, &writer.norm);
                }
                let correction = Correction::new(0..inner.inputs(), n * h * w, own, &readers);
                for ((images, values), mut new) in groups.iter().zip(values).zip(arriving) {
                    passes::norm_backward::<T>(&mut new, values, &writer.norm, &correction);
                    reader.take_into(new, None, features, images, &scratch, &gradient)?;
                }
                gradients.push(writer.finish(features));
            }
            _ => {
                for images in groups {
                    let (new, sums) = arrived(images);
                    reader.take_into(new, Some(sums), features, images, &scratch, &gradient)?;
                }
            }
        }
        if of_batch {
            sums.add(&reader.sums, &reader.norm);
        }
        gradients.push(reader.finish(features));
    }
    gradients.reverse();
    if !needs.input {
        return Ok(Gradients { x: None, statistics: None, stages: gradients });
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
    Ok(Gradients { x: Some(x), statistics, stages: gradients })
}

/// A stage on the way back, and what has come together of its parameters' gradients.
struct StageBackward<'a, T: Number> {
    stage: &'a Stage,
    norm: Norm<T::Wide>,
    kernels: Tensor,
    needed: StageNeeds,
    /// Whether gradients have to go back through its convolution.
    through: bool,
    /// Those of its norm.
    sums: GradientSums,
    weight: Option<Tensor>,
    bias: Vec<f64>,
}

impl<'a, T: Number> StageBackward<'a, T> {
    /// `above` says whether anything is needed of what the stage reads.
    fn new(
        stage: &'a Stage,
        statistics: &ChannelStatistics,
        needed: StageNeeds,
        above: bool,
        kind: Kind,
    ) -> Result<Self> {
        Ok(StageBackward {
            stage,
            norm: Norm::new(&stage.gamma, &stage.beta, statistics),
            kernels: stage.kernels(kind)?,
            needed,
            through: needed.norm || above,
            sums: GradientSums::zero(stage.inputs()),
            weight: None,
            bias: vec![0.0; stage.outputs()],
        })
    }

    /// What the stage wrote in the forward pass, made again.
    fn output(&self, x: &Tensor, groups: &[Range<i64>], scratch: &Scratch) -> Result<Vec<Tensor>> {
        let of =
            |images: &Range<i64>| self.stage.output::<T>(&part(x, images), &self.norm, &self.kernels, images, scratch);
        groups.iter().map(of).collect()
    }

    /// Takes the gradient of what the stage wrote into some images, whose sums may be known, back through dropout and convolution.
    fn take(
        &mut self,
        mut new: Tensor,
        mut sums: Option<Vec<f64>>,
        x: &Tensor,
        images: &Range<i64>,
        scratch: &Scratch,
    ) -> Result<Option<Tensor>> {
        if let Some(mask) = self.stage.dropped {
            let place = place(images, &new);
            passes::drop::<T>(&mut new, place, mask);
            sums = None;
        }
        if self.needed.bias {
            let sums = sums.unwrap_or_else(|| passes::moments::<T>(&new).sums());
            self.bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        }
        if !self.through && !self.needed.weight {
            return Ok(None);
        }
        let mut normalized = scratch.like(x, self.stage.inputs());
        passes::norm_relu::<T>(x, &self.norm, &mut normalized);
        let wanted = OfConvolution { input: self.through, weight: self.needed.weight };
        let conv = convolution_backward(&new, &normalized, &self.kernels, self.stage.padding(), wanted)?;
        self.weight = match (self.weight.take(), conv.weight) {
            (Some(mut sum), Some(part)) => Some(sum.g_add_(&part)),
            (sum, part) => sum.or(part.map(|part| into_kind(part, wide_kind(x)))),
        };
        conv.input.map(|upstream| to_channels_last(&upstream)).transpose()
    }

    /// As [`take`](Self::take), and on through ReLU and norm into the gradient of the features.
    fn take_into(
        &mut self,
        new: Tensor,
        sums: Option<Vec<f64>>,
        features: &Tensor,
        images: &Range<i64>,
        scratch: &Scratch,
        gradient: &Tensor,
    ) -> Result<()> {
        let features = part(features, images);
        if let Some(upstream) = self.take(new, sums, &features, images, scratch)? {
            let mut gradient = part(gradient, images);
            self.sums.add(&passes::accumulate::<T>(&upstream, &features, &self.norm, &mut gradient));
        }
        Ok(())
    }

    fn finish(self, features: &Tensor) -> StageGradients {
        let gamma: Vec<f64> = self.sums.scale.iter().zip(&self.norm.rstd).map(|(sum, rstd)| sum * rstd).collect();
        StageGradients {
            gamma: Some(tensor(&gamma, features)),
            beta: Some(tensor(&self.sums.shift, features)),
            weight: self.weight,
            bias: self.stage.bias.is_some().then(|| tensor(&self.bias, features)),
        }
    }
}

/// The same values in another kind; the same tensor where it is the same kind.
fn into_kind(tensor: Tensor, kind: Kind) -> Tensor {
    tensor.to_kind(kind)
}
