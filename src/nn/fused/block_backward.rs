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
    /// The pictures that each layer works on together.
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
    // Fixed statistics do not depend on what they normalise: with sums of 0 nothing is corrected.
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
        // The gradient of what the layer wrote into some pictures, and its sums.
        let arrived = |pictures: &Range<i64>| {
            let mut new = like(&part(features, pictures), written.len());
            let sums =
                passes::correct::<T>(&part(&gradient, pictures), &part(features, pictures), &correction, &mut new);
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
                for (pictures, values) in groups.iter().zip(values) {
                    let (new, sums) = arrived(pictures);
                    if let Some(upstream) = writer.take(new, Some(sums), values, pictures, &scratch)? {
                        writer.sums.add(&passes::norm_sums::<T>(&upstream, values, &writer.norm));
                        arriving.push(upstream);
                    }
                }
                let mut readers = ReaderSums::of(None, None, own);
                if of_batch {
                    readers.add(&writer.sums, &writer.norm);
                }
                let correction = Correction::new(0..inner.inputs(), n * h * w, own, &readers);
                for ((pictures, values), mut new) in groups.iter().zip(values).zip(arriving) {
                    passes::norm_backward::<T>(&mut new, values, &writer.norm, &correction);
                    reader.take_into(new, None, features, pictures, &scratch, &gradient)?;
                }
                gradients.push(writer.finish(features));
            }
            _ => {
                for pictures in groups {
                    let (new, sums) = arrived(pictures);
                    reader.take_into(new, Some(sums), features, pictures, &scratch, &gradient)?;
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
        let of = |pictures: &Range<i64>| {
            self.stage.output::<T>(&part(x, pictures), &self.norm, &self.kernels, pictures, scratch)
        };
        groups.iter().map(of).collect()
    }

    /// Takes the gradient of what the stage wrote into some pictures, whose sums may be known, back through dropout and convolution.
    fn take(
        &mut self,
        mut new: Tensor,
        mut sums: Option<Vec<f64>>,
        x: &Tensor,
        pictures: &Range<i64>,
        scratch: &Scratch,
    ) -> Result<Option<Tensor>> {
        if let Some(mask) = self.stage.dropped {
            let place = place(pictures, &new);
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
        pictures: &Range<i64>,
        scratch: &Scratch,
        gradient: &Tensor,
    ) -> Result<()> {
        let features = part(features, pictures);
        if let Some(upstream) = self.take(new, sums, &features, pictures, scratch)? {
            let mut gradient = part(gradient, pictures);
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

#[cfg(test)]
mod tests {
    use super::super::block_forward::{Made, forward};
    use super::*;
    use crate::kernels::DropMask;
    use crate::nn::Memory;

    fn values(size: &[i64], salt: f64) -> Tensor {
        (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, tch::Device::Cpu)) * 1.7 + salt).sin().view(size)
    }

    fn stage(inputs: i64, outputs: i64, kernel: i64, salt: f64) -> Stage {
        Stage {
            gamma: values(&[inputs], salt + 1.0) + 1.5,
            beta: values(&[inputs], salt + 2.0),
            weight: values(&[outputs, inputs, kernel, kernel], salt + 3.0),
            bias: Some(values(&[outputs], salt + 4.0)),
            dropped: Some(DropMask::new(salt as u64, 0.3)),
        }
    }

    fn run(x: &Tensor, layers: &[Layer], memory: Memory) -> Made {
        forward::<f64>(x, None, layers, 1e-5, memory).unwrap()
    }

    fn gradients(made: &Made, layers: &[Layer], projection: &Tensor) -> Gradients {
        let arriving = Arriving { features: Some(projection.shallow_clone()), mean: None, rstd: None };
        let all = StageNeeds { norm: true, weight: true, bias: true };
        let of_layer = |layer: &Layer| LayerNeeds { reader: all, inner: layer.inner.as_ref().map(|_| all) };
        let needs = Needs { input: true, layers: layers.iter().map(of_layer).collect() };
        let groups: Vec<_> = layers.iter().map(|layer| layer.groups(&made.features)).collect();
        let left = Left {
            features: &made.features,
            statistics: &made.statistics,
            given: false,
            layers,
            inner: &made.inner,
            groups: &groups,
        };
        backward::<f64>(&left, arriving, &needs).unwrap()
    }

    #[test]
    fn gradients_with_dropout_are_slopes() {
        let plain = [0, 1, 2].map(|l| Layer { reader: stage(2 + 3 * l, 3, 3, 10.0 * l as f64), inner: None });
        let bottleneck = [0, 1, 2].map(|l| Layer {
            reader: stage(2 + 3 * l, 4, 1, 10.0 * l as f64),
            inner: Some(stage(4, 3, 3, 10.0 * l as f64 + 5.0)),
        });
        let x = values(&[2, 2, 3, 4], 5.0);
        let projection = values(&[2, 11, 3, 4], 6.0);
        for layers in [&plain, &bottleneck] {
            let value = || {
                let made = run(&x, layers, Memory::Keep);
                (made.features * &projection).sum(Kind::Double).double_value(&[])
            };
            let made = run(&x, layers, Memory::Keep);
            assert!(made.features.narrow(1, 2, 9).eq(0.0).any().int64_value(&[]) == 1, "something is dropped");
            let gradients = gradients(&made, layers, &projection);
            let mut pairs = vec![(&x, gradients.x.unwrap())];
            let stages = layers.iter().flat_map(|layer| [Some(&layer.reader), layer.inner.as_ref()]).flatten();
            for (stage, gradient) in stages.zip(gradients.stages) {
                let bias = stage.bias.as_ref().unwrap();
                let gradients = [gradient.gamma, gradient.beta, gradient.weight, gradient.bias].map(Option::unwrap);
                pairs.extend([&stage.gamma, &stage.beta, &stage.weight, bias].into_iter().zip(gradients));
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
                    let near = (own - slope).abs() <= 1e-6 * (1.0 + slope.abs());
                    assert!(near, "{tensor:?}[{index}]: {own}, slope {slope}");
                }
            }
        }
    }

    #[test]
    fn what_is_kept_changes_no_bit() {
        let layers = [0, 1, 2].map(|l| Layer {
            reader: stage(2 + 3 * l, 8, 1, 10.0 * l as f64),
            inner: Some(stage(8, 3, 3, 10.0 * l as f64 + 5.0)),
        });
        let x = values(&[5, 2, 7, 6], 5.0);
        let projection = values(&[5, 11, 7, 6], 6.0);
        let [kept, again] = [Memory::Keep, Memory::Recompute].map(|memory| {
            let made = run(&x, &layers, memory);
            assert_eq!(made.inner.len(), if memory == Memory::Keep { 3 } else { 0 });
            gradients(&made, &layers, &projection)
        });
        assert_eq!(kept.x, again.x);
        for (kept, again) in kept.stages.iter().zip(&again.stages) {
            assert!(kept.gamma == again.gamma && kept.beta == again.beta);
            assert!(kept.weight == again.weight && kept.bias == again.bias);
        }
    }
}
