//! Convolutions and linear layers: geometry and construction.

use super::initialization::{Draws, Initialization};
use crate::error::ConfigError;
use crate::torch::{check_device, to_channels_last};
use crate::{Error, Result};
use tch::nn::{self, Init, Path};

/// The geometry of a square convolution, from which shapes and counts follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvGeometry {
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub bias: bool,
}

impl ConvGeometry {
    /// Describes a convolution that preserves the size: odd kernel, stride 1.
    pub fn same(in_channels: usize, out_channels: usize, kernel: usize, bias: bool) -> Self {
        ConvGeometry { in_channels, out_channels, kernel, stride: 1, padding: kernel / 2, bias }
    }

    /// Builds the convolution with the variables `weight` and, if it has one, `bias`.
    pub fn build(&self, path: &Path, initialization: Initialization, draws: &Draws) -> Result<nn::Conv2D> {
        check_path(path)?;
        let area = (self.kernel * self.kernel) as f64;
        let distribution = initialization.conv(self.in_channels as f64 * area, self.out_channels as f64 * area);
        let config = nn::ConvConfig {
            stride: self.stride as i64,
            padding: self.padding as i64,
            bias: self.bias,
            ws_init: draws.init(distribution),
            bs_init: Init::Const(0.0),
            ..Default::default()
        };
        let (inputs, outputs) = (self.in_channels as i64, self.out_channels as i64);
        let mut conv = nn::conv2d(path, inputs, outputs, self.kernel as i64, config);
        draws.fill(&conv.ws, distribution)?;
        // The memory format of a convolution's weight decides that of its output, and channels-last is the faster one
        // on a CPU.
        let weight = to_channels_last(&conv.ws.detach())?;
        conv.ws.set_data(&weight);
        Ok(conv)
    }
}

/// Builds a linear layer with the variables `weight` and `bias`.
pub(crate) fn build_linear(
    path: &Path,
    inputs: usize,
    outputs: usize,
    initialization: Initialization,
    draws: &Draws,
) -> Result<nn::Linear> {
    check_path(path)?;
    let distribution = initialization.linear(inputs as f64, outputs as f64);
    let config = nn::LinearConfig { ws_init: draws.init(distribution), bs_init: Some(Init::Const(0.0)), bias: true };
    let linear = nn::linear(path, inputs as i64, outputs as i64, config);
    draws.fill(&linear.ws, distribution)?;
    Ok(linear)
}

/// Checks that variables can be created at a path: on a device that this machine has, and under names that are free, since
/// tch would silently rename a second `weight`.
pub(crate) fn check_path(path: &Path) -> Result<()> {
    check_device(path.device())?;
    match path.get("weight") {
        Some(_) => Err(Error::Config(ConfigError::VariableExists { name: path.path("weight") })),
        None => Ok(()),
    }
}

/// Checks a channel count, so that sums and products of it do not overflow. `None` stands for a count that overflowed.
pub(crate) fn checked(what: &'static str, value: Option<usize>) -> Result<usize> {
    value
        .filter(|&value| value <= MAX_CHANNELS)
        .ok_or(Error::Config(ConfigError::Overflow { what, limit: MAX_CHANNELS }))
}

/// The largest channel count: more than any network has, and small enough that the product of two counts and a kernel
/// does not overflow.
const MAX_CHANNELS: usize = 1 << 24;
