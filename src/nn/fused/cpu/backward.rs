//! The backward pass of a dense block by the kernels, layer by layer from the last one.

use super::correction::{Correction, ReaderSums};
use super::groups::{Scratch, groups_of, part};
use super::norm::{HostStatistics, numbers};
use super::passes::{self, like, sizes};
use super::stage::CpuStage;
use super::stage_backward::{StageBackward, Upstream};
use crate::Result;
use crate::nn::Statistics;
use crate::nn::fused::block::{
    Activations, Block, BlockStatistics, GradOutputs, Gradients, Layer, LayerGradients, NeedsGrad, StageGradients,
    wide_kind,
};
use crate::torch::{Number, to_channels_last, writable_channels_last};
use std::ops::Range;
use tch::Tensor;

pub(super) fn backward<T: Number>(
    block: &Block,
    saved: &Activations,
    grad_outputs: GradOutputs,
    needs_grad: &NeedsGrad,
) -> Result<Gradients> {
    let mut pass = Backward::new(block, saved, grad_outputs, needs_grad)?;
    let mut layers = Vec::with_capacity(block.layers.len());
    for number in (0..block.layers.len()).rev() {
        layers.push(match needs_grad.visits(number) {
            true => pass.layer::<T>(number)?,
            false => LayerGradients::default(),
        });
    }
    layers.reverse();
    if !needs_grad.input {
        return Ok(Gradients { x: None, statistics: None, layers });
    }
    let (x, statistics) = pass.input::<T>();
    Ok(Gradients { x: Some(x), statistics, layers })
}

/// The state of a backward pass.
struct Backward<'a> {
    block: &'a Block,
    saved: &'a Activations,
    needs_grad: &'a NeedsGrad,
    statistics: BlockStatistics<HostStatistics>,
    /// The statistics by which gradients of features are corrected: those of the batch. Running statistics do not
    /// depend on the features, and are neutral here.
    corrected_by: HostStatistics,
    /// The gradient of the features with their statistics held constant, in the dtype of computations: a sum over all
    /// readers.
    gradient: Tensor,
    /// The sums over the readers of each channel. With running statistics they stay 0, so that nothing is corrected.
    readers: ReaderSums,
    /// The groups of images that each layer processes together.
    groups: Vec<Vec<Range<i64>>>,
    scratch: Scratch,
}

impl<'a> Backward<'a> {
    fn new(
        block: &'a Block,
        saved: &'a Activations,
        grad_outputs: GradOutputs,
        needs_grad: &'a NeedsGrad,
    ) -> Result<Self> {
        let features = &saved.features;
        let statistics = saved.statistics.map(HostStatistics::of);
        let corrected_by = match statistics.batch() {
            Some(batch) => batch.clone(),
            None => HostStatistics::neutral(block.out_channels()),
        };
        let [mean, rstd] = [&grad_outputs.mean, &grad_outputs.rstd].map(|tensor| tensor.as_ref().map(numbers));
        let groups = groups_of(block, features, &saved.bottlenecks);
        Ok(Backward {
            gradient: match grad_outputs.features {
                Some(gradient) => writable_channels_last(into_kind(gradient, wide_kind(features)))?,
                None => to_channels_last(&features.zeros_like())?.to_kind(wide_kind(features)),
            },
            readers: ReaderSums::of(mean.as_deref(), rstd.as_deref(), &corrected_by),
            scratch: Scratch::new(block, features, &groups),
            block,
            saved,
            needs_grad,
            statistics,
            corrected_by,
            groups,
        })
    }

    /// Returns the number of values per channel.
    fn count(&self) -> usize {
        let [n, _, h, w] = sizes(&self.saved.features);
        n * h * w
    }

    /// Computes the backward pass of a layer.
    fn layer<T: Number>(&mut self, number: usize) -> Result<LayerGradients> {
        let (layer, needs) = (&self.block.layers[number], self.needs_grad.layers[number]);
        let before = self.needs_grad.before(number);
        let stage = CpuStage::<T>::new(&layer.first, self.statistics.of_layer(number))?;
        let mut first = StageBackward::new(stage, needs.first, before);
        let mut second = None;
        match (&layer.second, needs.second) {
            (Some(stage), Some(needs_of_second)) => {
                let stage = CpuStage::<T>::new(stage, &self.statistics.bottlenecks[number])?;
                let before = before || needs.first.any();
                second =
                    Some(self.bottleneck(number, &mut first, StageBackward::new(stage, needs_of_second, before))?);
            }
            _ => {
                let correction = self.correction(layer);
                for images in &self.groups[number] {
                    let output = self.output_gradient::<T>(layer, images, &correction);
                    first.add_into(output, images, &self.saved.features, &self.gradient, &self.scratch)?;
                }
            }
        }
        if self.statistics.batch().is_some() {
            self.readers.add(&first.sums, &first.stage.norm);
        }
        let features = &self.saved.features;
        let second = second.map_or_else(StageGradients::default, |second| second.finish(features));
        Ok(LayerGradients { first: first.finish(features), second })
    }

    /// Computes the backward pass of a bottleneck layer: of the second stage for all images, since the sums of its norm
    /// have to be complete, and then of the first.
    fn bottleneck<'b, T: Number>(
        &self,
        number: usize,
        first: &mut StageBackward<T>,
        mut second: StageBackward<'b, T>,
    ) -> Result<StageBackward<'b, T>> {
        let (layer, groups, features) = (&self.block.layers[number], &self.groups[number], &self.saved.features);
        let again;
        let values = match &self.saved.bottlenecks[number][..] {
            [] => {
                again = first.stage.outputs(features, groups, &self.scratch)?;
                &again[..]
            }
            saved => saved,
        };
        let correction = self.correction(layer);
        let mut upstream = Vec::with_capacity(groups.len());
        for (images, values) in groups.iter().zip(values) {
            let output = self.output_gradient::<T>(layer, images, &correction);
            if let Some(gradient) = second.take(output, images, values, &self.scratch)? {
                second.sums.add(&passes::norm_sums::<T>(&gradient, values, &second.stage.norm));
                upstream.push(gradient);
            }
        }
        let own = &self.statistics.bottlenecks[number];
        let mut readers = ReaderSums::of(None, None, own);
        if self.statistics.batch().is_some() {
            readers.add(&second.sums, &second.stage.norm);
        }
        let correction = Correction::new(0..own.mean.len(), self.count(), own, &readers);
        for ((images, values), mut gradient) in groups.iter().zip(values).zip(upstream) {
            passes::norm_backward::<T>(&mut gradient, values, &second.stage.norm, &correction);
            let output = Upstream { gradient, sums: None };
            first.add_into(output, images, features, &self.gradient, &self.scratch)?;
        }
        Ok(second)
    }

    /// Returns the correction of the gradient of the features that a layer computed.
    fn correction<W: crate::kernels::Real>(&self, layer: &Layer) -> Correction<W> {
        let slot = layer.first.in_channels();
        let slot = slot..slot + layer.last().out_channels();
        Correction::new(slot, self.count(), &self.corrected_by, &self.readers)
    }

    /// Returns the gradient of the features that a layer computed for a group of images.
    fn output_gradient<T: Number>(
        &self,
        layer: &Layer,
        images: &Range<i64>,
        correction: &Correction<T::Wide>,
    ) -> Upstream {
        let features = part(&self.saved.features, images);
        let mut gradient = like(&features, layer.last().out_channels());
        let sums = passes::correct::<T>(&part(&self.gradient, images), &features, correction, &mut gradient);
        Upstream { gradient, sums: Some(sums) }
    }

    /// Returns the gradients of the block's input and, where they were inputs too, of its statistics.
    fn input<T: Number>(&self) -> (Tensor, Option<Statistics>) {
        let (inputs, given) = (self.block.in_channels(), self.block.has_input_statistics);
        let mut x = like(&self.saved.features, inputs);
        let nothing = ReaderSums { shift: vec![0.0; inputs], scale: vec![0.0; inputs] };
        let readers = if given { &nothing } else { &self.readers };
        let correction = Correction::new(0..inputs, self.count(), &self.corrected_by, readers);
        passes::correct::<T>(&self.gradient, &self.saved.features, &correction, &mut x);
        let statistics =
            given.then(|| self.readers.statistics(&self.corrected_by, inputs).to_kind(wide_kind(&self.saved.features)));
        (x, statistics)
    }
}

/// Converts to another dtype; returns the same tensor, with the same number of owners, where it has that dtype.
fn into_kind(tensor: Tensor, kind: tch::Kind) -> Tensor {
    tensor.to_kind(kind)
}
