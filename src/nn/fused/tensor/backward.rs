//! The backward pass of a dense block by libtorch's operations, layer by layer from the last one.

use super::super::block::{
    Activations, Block, GradOutputs, Gradients, Layer, LayerGradients, LayerNeedsGrad, NeedsGrad, Stage,
    StageGradients, StageNeedsGrad, wide_kind,
};
use super::norm::{Norm, Sums, channels};
use super::{first_channels, stage_output};
use crate::Result;
use crate::nn::{Statistics, drop_values};
use crate::torch::{OfConvolution, convolution_backward, to_channels_last};
use tch::{Kind, Tensor};

pub(super) fn backward(
    block: &Block,
    saved: &Activations,
    grad_outputs: GradOutputs,
    needs_grad: &NeedsGrad,
) -> Result<Gradients> {
    let mut pass = Backward::new(block, saved, grad_outputs)?;
    let mut layers = Vec::with_capacity(block.layers.len());
    for number in (0..block.layers.len()).rev() {
        layers.push(match needs_grad.visits(number) {
            true => pass.layer(number, needs_grad.layers[number], needs_grad.before(number))?,
            false => LayerGradients::default(),
        });
    }
    layers.reverse();
    let (x, statistics) = if needs_grad.input { pass.input()? } else { (None, None) };
    Ok(Gradients { x, statistics, layers })
}

/// The state of a backward pass.
struct Backward<'a> {
    block: &'a Block,
    saved: &'a Activations,
    /// The gradient of the features with their statistics held constant, in the dtype of computations: a sum over all
    /// readers.
    gradient: Tensor,
    /// The sums Σ γ·dβ and Σ γ·dγ over the readers of each channel, `[C]` each. With running statistics they stay 0.
    readers: Sums,
    /// The number of values per channel where norms use batch statistics: one integer on the device.
    count: Option<Tensor>,
}

impl<'a> Backward<'a> {
    fn new(block: &'a Block, saved: &'a Activations, grad_outputs: GradOutputs) -> Result<Self> {
        let (features, wide) = (&saved.features, wide_kind(&saved.features));
        let (n, channels, h, w) = features.size4().expect("features have four dimensions");
        let gradient = match grad_outputs.features {
            Some(gradient) => to_channels_last(&gradient.to_kind(wide))?.copy(),
            None => to_channels_last(&features.zeros_like().to_kind(wide))?,
        };
        let zeros = || Tensor::zeros([channels], (wide, features.device()));
        let mut readers = Sums { shift: zeros(), scale: zeros() };
        let batch = saved.statistics.batch();
        if let Some(Statistics { rstd, .. }) = batch {
            readers.shift = grad_outputs.mean.map_or_else(zeros, |mean| -mean / rstd);
            readers.scale = grad_outputs.rstd.map_or_else(zeros, |gradient| gradient * rstd);
        }
        let count = batch.map(|_| Tensor::full([1], n * h * w, (Kind::Int, features.device())));
        Ok(Backward { block, saved, gradient, readers, count })
    }

    /// Returns the gradient of some channels, corrected for their batch statistics by the sums `readers`.
    fn corrected(&self, first: usize, length: usize, readers: &Sums) -> Result<Tensor> {
        let (first, length) = (first as i64, length as i64);
        let (features, own) = (&self.saved.features, self.gradient.narrow(1, first, length));
        let Some((statistics, count)) = self.saved.statistics.batch().zip(self.count.as_ref()) else {
            return to_channels_last(&own.to_kind(features.kind()));
        };
        let of = |values: &Tensor| channels(&values.narrow(0, first, length));
        let (mean, rstd) = (of(&statistics.mean), of(&statistics.rstd));
        let deviation = features.narrow(1, first, length).to_kind(wide_kind(features)) - mean;
        let (offset, slope) = (of(&readers.shift) * &rstd, of(&readers.scale) * rstd.square());
        to_channels_last(&(own - (offset + slope * deviation) / count).to_kind(features.kind()))
    }

    /// Computes the backward pass of a layer. `before` says whether the gradient of its input is needed.
    fn layer(&mut self, number: usize, needs: LayerNeedsGrad, before: bool) -> Result<LayerGradients> {
        let Layer { first, second } = &self.block.layers[number];
        let reads = first.in_channels();
        let x = first_channels(&self.saved.features, reads)?;
        let norm = Norm::of(first, self.saved.statistics.of_layer(number));
        let normalized = norm.relu(&x);
        let mut gradients = LayerGradients::default();
        let mut gradient = self.corrected(reads, self.block.layers[number].last().out_channels(), &self.readers)?;
        if let (Some(second), Some(needs_of_second)) = (second, needs.second) {
            let y = match &self.saved.bottlenecks[number][..] {
                [y] => y.shallow_clone(),
                _ => stage_output(first, &normalized)?,
            };
            let needed = before || needs.first.any();
            let norm = Norm::of(second, &self.saved.statistics.bottlenecks[number]);
            let way = Way { stage: second, norm: &norm, x: &y };
            let (of_second, upstream) = way.back(gradient, &norm.relu(&y), needs_of_second, needed)?;
            gradients.second = of_second;
            let Some((g, sums)) = upstream else { return Ok(gradients) };
            if !needed {
                return Ok(gradients);
            }
            gradient = norm.gradient(&g, &y, &sums, self.count.as_ref());
        }
        let way = Way { stage: first, norm: &norm, x: &x };
        let (of_first, upstream) = way.back(gradient, &normalized, needs.first, before)?;
        gradients.first = of_first;
        if let Some((g, sums)) = upstream {
            self.add_reader(reads, &norm, first, &g, &sums);
        }
        Ok(gradients)
    }

    /// Adds the gradient and the sums of a norm that reads the first channels.
    fn add_reader(&mut self, reads: usize, norm: &Norm, stage: &Stage, g: &Tensor, sums: &Sums) {
        let (reads, scale) = (reads as i64, norm.scale());
        let _ = self.gradient.narrow(1, 0, reads).g_add_(&(g.to_kind(self.gradient.kind()) * channels(&scale)));
        let _ = self.readers.shift.narrow(0, 0, reads).g_add_(&(&stage.gamma * &sums.shift));
        let _ = self.readers.scale.narrow(0, 0, reads).g_add_(&(scale * &sums.scale));
    }

    /// Returns the gradients of the block's input and, where they were inputs too, of its statistics.
    fn input(&self) -> Result<(Option<Tensor>, Option<Statistics>)> {
        let inputs = self.block.in_channels();
        if !self.block.has_input_statistics {
            return Ok((Some(self.corrected(0, inputs, &self.readers)?), None));
        }
        // The function that computed the statistics corrects for them.
        let own = self.gradient.narrow(1, 0, inputs as i64).to_kind(self.saved.features.kind());
        let first = |tensor: &Tensor| tensor.narrow(0, 0, inputs as i64);
        let statistics = self.saved.statistics.batch().map(|Statistics { rstd, .. }| Statistics {
            mean: -first(&self.readers.shift) * first(rstd),
            rstd: first(&self.readers.scale) / first(rstd),
        });
        Ok((Some(to_channels_last(&own)?), statistics))
    }
}

/// A stage in the backward pass: its norm and its input.
struct Way<'a> {
    stage: &'a Stage,
    norm: &'a Norm<'a>,
    x: &'a Tensor,
}

impl Way<'_> {
    /// Computes the backward pass of dropout, convolution and ReLU: returns the gradients of the stage's parameters,
    /// and the gradient of the norm's output with its sums where γ, β or something `before` the stage needs them.
    fn back(
        &self,
        gradient: Tensor,
        normalized: &Tensor,
        needs: StageNeedsGrad,
        before: bool,
    ) -> Result<(StageGradients, Option<(Tensor, Sums)>)> {
        let (stage, wide) = (self.stage, wide_kind(normalized));
        let gradient = drop_values(stage.mask, gradient);
        let bias = needs.bias.then(|| gradient.sum_dim_intlist([0, 2, 3].as_slice(), false, wide));
        let mut gradients = StageGradients { bias, ..StageGradients::default() };
        let wanted = OfConvolution { input: needs.norm || before, weight: needs.weight };
        if !wanted.input && !wanted.weight {
            return Ok((gradients, None));
        }
        let weight = stage.weight_as(normalized.kind())?;
        let conv = convolution_backward(&gradient, normalized, &weight, stage.padding(), wanted)?;
        gradients.weight = conv.weight.map(|weight| weight.to_kind(wide));
        let Some(upstream) = conv.input else { return Ok((gradients, None)) };
        let g = normalized.threshold_backward(&to_channels_last(&upstream)?, 0.0);
        let sums = self.norm.sums(&g, self.x);
        gradients.gamma = Some(&sums.scale * &self.norm.statistics.rstd);
        gradients.beta = Some(sums.shift.shallow_clone());
        Ok((gradients, Some((g, sums))))
    }
}
