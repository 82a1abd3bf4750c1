//! The end of a network's features: norm, ReLU and the mean over all pixels.

use super::fused::{self, Engine};
use super::{Features, ForwardContext, NormRelu};
use crate::Result;
use tch::Tensor;

impl NormRelu {
    /// Normalizes, rectifies and averages over all pixels: `[N, C]`, in the dtype of the norm's weight.
    pub fn forward_pooled(&self, features: &Features, ctx: &ForwardContext) -> Result<Tensor> {
        if Engine::of(&features.data, ctx) == Engine::CpuKernels {
            self.check(&features.data, ctx)?;
            let [.., h, w] = features.data.size()[..] else { unreachable!("the rank has been checked") };
            let window = [h as usize, w as usize];
            let pooled = fused::norm_relu_average_pool(features, self, window, self.weight.kind(), ctx)?;
            return Ok(pooled.flatten(1, -1));
        }
        Ok(self.forward(features, ctx)?.mean_dim([2, 3].as_slice(), false, self.weight.kind()))
    }
}
