//! The dense block in libtorch's own operations, for GPUs: the passes of [`block_forward`](super::block_forward) and
//! [`block_backward`](super::block_backward) over tensors, so that nothing waits for the device. Statistics are computed once a channel, and
//! normalized values made again in the backward pass.

use super::block_backward::{Needs, StageNeeds};
use super::block_function::{FusedLayer, Shape};
use super::device_norm::{DeviceNorm, DeviceStatistics, channels};
use super::norm::wide_kind;
use super::update_running;
use crate::nn::{Features, ForwardContext, Memory, Statistics};
use crate::torch::{Forward, Function, OfConvolution, apply, convolution_backward, to_channels_last};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Adds the features of layers, which are all of one kind, to `features`. The statistics do not travel on.
pub(crate) fn dense_block(features: Features, layers: &[FusedLayer], ctx: &ForwardContext) -> Result<Features> {
    let [first, ..] = layers else { return Ok(features) };
    let epsilon = first.stages[0].norm.config().epsilon;
    let train = ctx.mode.uses_batch_statistics();
    let mut inputs = vec![&features.data];
    let stages = || layers.iter().flat_map(|layer| &layer.stages);
    inputs.extend(stages().flat_map(|stage| stage.parameters()));
    let fixed =
        stages().map(|stage| DeviceStatistics::running(&stage.norm.running_mean, &stage.norm.running_var, epsilon));
    let function = DeviceBlock {
        shape: Shape::of(first, false),
        epsilon,
        memory: ctx.memory,
        drop_rates: stages().map(|stage| stage.drop_rate).collect(),
        fixed: if train { Vec::new() } else { fixed.collect() },
    };
    let mut outputs = apply(function, &inputs)?.into_iter();
    let data = outputs.next().expect("features come first");
    if train {
        let mut next = || {
            let (mean, rstd) = outputs.next().zip(outputs.next()).expect("each norm's statistics");
            Statistics { mean, rstd }
        };
        let of_features = next();
        for FusedLayer { stages } in layers {
            update_running(stages[0].norm, &of_features, &data);
            if let Some(inner) = stages.get(1) {
                update_running(inner.norm, &next(), &data);
            }
        }
    }
    Ok(Features::new(data))
}

struct DeviceBlock {
    shape: Shape,
    epsilon: f64,
    memory: Memory,
    /// Of each stage.
    drop_rates: Vec<f64>,
    /// The statistics of each stage's norm where they are not the batch's.
    fixed: Vec<DeviceStatistics>,
}

/// The parameters of a stage.
struct Stage<'a> {
    gamma: &'a Tensor,
    beta: &'a Tensor,
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
}

impl Stage<'_> {
    fn norm<'a>(&'a self, statistics: &'a DeviceStatistics) -> DeviceNorm<'a> {
        DeviceNorm { gamma: self.gamma, beta: self.beta, statistics }
    }

    fn padding(&self) -> i64 {
        self.weight.size()[2] / 2
    }

    /// The convolution of what the norm made, and the mask of what was dropped.
    fn convolved(&self, normalized: &Tensor, drop_rate: f64) -> Result<(Tensor, Option<Tensor>)> {
        let kind = normalized.kind();
        let (bias, padding) = (self.bias.map(|bias| bias.to_kind(kind)), self.padding());
        let weight = to_channels_last(&self.weight.to_kind(kind))?;
        let y = normalized
            .f_conv2d(&weight, bias.as_ref(), [1, 1], [padding, padding], [1, 1], 1)
            .map_err(|error| Error::Libtorch { what: "convolution", message: error.to_string() })?;
        if drop_rate == 0.0 {
            return Ok((to_channels_last(&y)?, None));
        }
        let (y, mask) = y.native_dropout(drop_rate, true);
        Ok((to_channels_last(&y)?, Some(mask)))
    }
}

/// The first channels of features, without gaps.
fn first_channels(features: &Tensor, count: i64) -> Result<Tensor> {
    to_channels_last(&features.narrow(1, 0, count))
}

/// What a pass keeps beside the features: the statistics of all norms, what lies between stages, and masks, in an order that
/// [`DeviceBlock`] knows.
struct Kept {
    statistics: DeviceStatistics,
    inner_statistics: Vec<DeviceStatistics>,
    inner: Vec<Tensor>,
    masks: Vec<Tensor>,
}

impl DeviceBlock {
    /// The stages of all layers, one after the other.
    fn stages<'a>(&self, parameters: &'a [Tensor]) -> Vec<Stage<'a>> {
        let stage = |of: &'a [Tensor]| Stage { gamma: &of[0], beta: &of[1], weight: &of[2], bias: of.get(3) };
        parameters.chunks_exact(self.shape.parameters()).map(stage).collect()
    }

    /// The statistics that a layer's first norm goes by.
    fn of_reader(&self, layer: usize, inputs: i64, of_features: &DeviceStatistics) -> DeviceStatistics {
        match self.fixed.get(layer * self.shape.stages()) {
            Some(fixed) => fixed.first(inputs),
            None => of_features.first(inputs),
        }
    }

    fn run(&self, x: &Tensor, stages: &[Stage]) -> Result<(Tensor, Kept)> {
        let x = to_channels_last(x)?;
        let (n, inputs, h, w) = x.size4().expect("features have four dimensions");
        let layers = stages.chunks_exact(self.shape.stages());
        let added: i64 = layers.clone().map(|layer| layer[layer.len() - 1].weight.size()[0]).sum();
        let options = (x.kind(), x.device());
        let features = Tensor::empty([n, h, w, inputs + added], options).permute([0, 3, 1, 2]).detach();
        features.narrow(1, 0, inputs).copy_(&x);
        let numbers = || Tensor::empty([inputs + added], (wide_kind(&x), x.device()));
        let statistics = DeviceStatistics { mean: numbers(), rstd: numbers() };
        let mut kept = Kept { statistics, inner_statistics: Vec::new(), inner: Vec::new(), masks: Vec::new() };
        let know = |statistics: &DeviceStatistics, values: &Tensor, first: i64| {
            let own = DeviceStatistics::of(values, self.epsilon);
            statistics.mean.narrow(0, first, own.mean.size()[0]).copy_(&own.mean);
            statistics.rstd.narrow(0, first, own.rstd.size()[0]).copy_(&own.rstd);
        };
        let of_batch = self.fixed.is_empty();
        if of_batch {
            know(&kept.statistics, &x, 0);
        }
        for (number, layer) in layers.enumerate() {
            let reads = layer[0].gamma.size()[0];
            let statistics = self.of_reader(number, reads, &kept.statistics);
            let rates = &self.drop_rates[number * layer.len()..];
            let normalized = layer[0].norm(&statistics).relu(&first_channels(&features, reads)?);
            let (mut y, mask) = layer[0].convolved(&normalized, rates[0])?;
            kept.masks.extend(mask);
            if let [_, inner] = layer {
                if of_batch {
                    kept.inner_statistics.push(DeviceStatistics::of(&y, self.epsilon));
                }
                let statistics = self.of_inner(number, &kept.inner_statistics);
                let (out, mask) = inner.convolved(&inner.norm(statistics).relu(&y), rates[1])?;
                kept.masks.extend(mask);
                if self.memory == Memory::Keep {
                    kept.inner.push(y);
                }
                y = out;
            }
            features.narrow(1, reads, y.size()[1]).copy_(&y);
            if of_batch {
                know(&kept.statistics, &y, reads);
            }
        }
        Ok((features, kept))
    }

    fn of_inner<'a>(&'a self, layer: usize, of_batch: &'a [DeviceStatistics]) -> &'a DeviceStatistics {
        self.fixed.get(layer * self.shape.stages() + 1).unwrap_or_else(|| &of_batch[layer])
    }

    fn back(
        &self,
        features: &Tensor,
        stages: &[Stage],
        kept: &Kept,
        arriving: &Tensor,
        needs: &Needs,
    ) -> Result<Vec<Option<Tensor>>> {
        let (n, _, h, w) = features.size4().expect("features have four dimensions");
        let (wide, of_batch) = (wide_kind(features), self.fixed.is_empty());
        let count = Tensor::full([1], n * h * w, (Kind::Int, features.device()));
        // Sums over all readers, in more bits than the features may have.
        let gradient = to_channels_last(&arriving.to_kind(wide))?.copy();
        let readers =
            DeviceStatistics { mean: kept.statistics.mean.zeros_like(), rstd: kept.statistics.rstd.zeros_like() };
        let corrected = |first: i64, length: i64| {
            let of = |values: &Tensor| channels(&values.narrow(0, first, length));
            let own = gradient.narrow(1, first, length);
            if !of_batch {
                return to_channels_last(&own.to_kind(features.kind()));
            }
            let (mean, rstd) = (of(&kept.statistics.mean), of(&kept.statistics.rstd));
            let deviation = features.narrow(1, first, length).to_kind(wide) - mean;
            let (offset, slope) = (of(&readers.mean) * &rstd, of(&readers.rstd) * rstd.square());
            let values = (n * h * w) as f64;
            to_channels_last(&(own - (offset + slope * deviation) / values).to_kind(features.kind()))
        };
        let mut masks = kept.masks.iter().rev();
        let mut results = Vec::new();
        for (number, layer) in stages.chunks_exact(self.shape.stages()).enumerate().rev() {
            let needed = needs.layers[number];
            if !(needs.above(number) || needed.any()) {
                // Nor of any layer before it, whose masks are left over.
                results.extend(layer.iter().map(|_| [const { None }; 4]));
                continue;
            }
            let any = needs.above(number) || needed.reader.any();
            let rates = &self.drop_rates[number * layer.len()..];
            let reads = layer[0].gamma.size()[0];
            let x = first_channels(features, reads)?;
            let statistics = self.of_reader(number, reads, &kept.statistics);
            let norm = layer[0].norm(&statistics);
            let normalized = norm.relu(&x);
            let mut new = corrected(reads, layer[layer.len() - 1].weight.size()[0])?;
            if let ([_, inner], Some(inner_needed)) = (layer, needed.inner) {
                let y = match kept.inner.get(number) {
                    Some(kept) => kept.shallow_clone(),
                    None => self.inner_again(
                        &layer[0],
                        &normalized,
                        rates[0],
                        masks.clone().nth(usize::from(rates[1] > 0.0)),
                    )?,
                };
                let own = inner.norm(self.of_inner(number, &kept.inner_statistics));
                let inner_normalized = own.relu(&y);
                new = undropped(new, rates[1], &mut masks);
                let through = any || inner_needed.norm;
                let (mut of_stage, upstream) = stage_back(inner, &new, &inner_normalized, inner_needed, through)?;
                let Some(upstream) = upstream else {
                    // Nothing is needed of what lies before it, here and in the layers before.
                    results.extend([of_stage, [None, None, None, None]]);
                    continue;
                };
                let g = inner_normalized.threshold_backward(&upstream, 0.0);
                let sums = own.sums(&g, &y);
                new = match of_batch {
                    true => own.gradient(&g, &y, &sums, &count),
                    false => (g * channels(&(inner.gamma * &own.statistics.rstd))).to_kind(y.kind()),
                };
                of_stage[0] = Some(&sums.scale * &own.statistics.rstd);
                of_stage[1] = Some(sums.shift);
                results.push(of_stage);
            }
            new = undropped(new, rates[0], &mut masks);
            let through = needs.above(number) || needed.reader.norm;
            let (mut of_stage, upstream) = stage_back(&layer[0], &new, &normalized, needed.reader, through)?;
            if let Some(upstream) = upstream {
                let g = normalized.threshold_backward(&upstream, 0.0);
                let sums = norm.sums(&g, &x);
                let scale = layer[0].gamma * &statistics.rstd;
                let _ = gradient.narrow(1, 0, reads).g_add_(&(g.to_kind(wide) * channels(&scale)));
                let _ = readers.mean.narrow(0, 0, reads).g_add_(&(layer[0].gamma * &sums.shift));
                let _ = readers.rstd.narrow(0, 0, reads).g_add_(&(&scale * &sums.scale));
                of_stage[0] = Some(&sums.scale * &statistics.rstd);
                of_stage[1] = Some(sums.shift);
            }
            results.push(of_stage);
        }
        results.reverse();
        let mut all = vec![if needs.input { Some(corrected(0, stages[0].gamma.size()[0])?) } else { None }];
        let parameters = self.shape.parameters();
        all.extend(results.into_iter().flat_map(|of_stage| of_stage.into_iter().take(parameters)));
        Ok(all)
    }

    /// What lies between a layer's stages, made once more, with the mask that it had.
    fn inner_again(&self, stage: &Stage, normalized: &Tensor, rate: f64, mask: Option<&Tensor>) -> Result<Tensor> {
        let (y, _) = stage.convolved(normalized, 0.0)?;
        match mask {
            Some(mask) if rate > 0.0 => Ok(y * mask.to_kind(normalized.kind()) / (1.0 - rate)),
            _ => Ok(y),
        }
    }
}

/// The gradients of γ, β, kernels and bias, of which the first two are yet to come, and that of the convolution's input.
type StageResult = ([Option<Tensor>; 4], Option<Tensor>);

fn stage_back(
    stage: &Stage,
    new: &Tensor,
    normalized: &Tensor,
    needed: StageNeeds,
    through: bool,
) -> Result<StageResult> {
    let wide = wide_kind(normalized);
    let bias = needed.bias.then(|| new.sum_dim_intlist([0, 2, 3].as_slice(), false, wide));
    if !through && !needed.weight {
        return Ok(([None, None, None, bias], None));
    }
    let kernels = to_channels_last(&stage.weight.to_kind(normalized.kind()))?;
    let wanted = OfConvolution { input: through, weight: needed.weight };
    let conv = convolution_backward(new, normalized, &kernels, stage.padding(), wanted)?;
    let weight = conv.weight.map(|weight| weight.to_kind(wide));
    Ok(([None, None, weight, bias], conv.input.map(|input| to_channels_last(&input)).transpose()?))
}

/// The gradient of what was there before values were dropped.
fn undropped<'a>(new: Tensor, rate: f64, masks: &mut impl Iterator<Item = &'a Tensor>) -> Tensor {
    if rate == 0.0 {
        return new;
    }
    let mask = masks.next().expect("a mask for each stage that drops");
    Tensor::native_dropout_backward(&new, mask, (1.0 - rate).recip())
}

impl Function for DeviceBlock {
    fn forward(&mut self, inputs: &[Tensor]) -> Result<Forward> {
        let (x, parameters) = inputs.split_first().expect("features come first");
        let (features, kept) = self.run(x, &self.stages(parameters))?;
        let mut saved = vec![features.shallow_clone()];
        saved.extend(parameters.iter().map(Tensor::shallow_clone));
        let mut outputs = vec![features];
        let Kept { statistics, inner_statistics, inner, masks } = kept;
        if self.fixed.is_empty() {
            for DeviceStatistics { mean, rstd } in [statistics].iter().chain(&inner_statistics) {
                outputs.extend([mean.shallow_clone(), rstd.shallow_clone()]);
                saved.extend([mean.shallow_clone(), rstd.shallow_clone()]);
            }
        }
        saved.extend(inner);
        saved.extend(masks);
        Ok(Forward { outputs, saved })
    }

    /// The statistics are only for the running ones.
    fn is_differentiable(&self, output: usize) -> bool {
        output == 0
    }

    fn backward(
        &mut self,
        saved: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(Some(arriving)) = gradients.into_iter().next() else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let count = self.drop_rates.len() * self.shape.parameters();
        let layers = self.drop_rates.len() / self.shape.stages();
        let mut saved = saved.into_iter();
        let features = saved.next().expect("features were saved first");
        let parameters: Vec<Tensor> = saved.by_ref().take(count).collect();
        let mut next = || {
            let (mean, rstd) = saved.next().zip(saved.next()).expect("statistics were saved");
            DeviceStatistics { mean, rstd }
        };
        let inner = if self.shape.stages() == 2 { layers } else { 0 };
        let (statistics, inner_statistics) = match self.fixed.is_empty() {
            true => (next(), (0..inner).map(|_| next()).collect()),
            false => {
                let zeros = Tensor::zeros([features.size()[1]], (wide_kind(&features), features.device()));
                (DeviceStatistics { mean: zeros.shallow_clone(), rstd: zeros }, Vec::new())
            }
        };
        let inner = if self.memory == Memory::Keep { saved.by_ref().take(inner).collect() } else { Vec::new() };
        let kept = Kept { statistics, inner_statistics, inner, masks: saved.collect() };
        self.back(&features, &self.stages(&parameters), &kept, &arriving, &self.shape.needs(needs))
    }
}
