//! Convolutions and linear layers: geometry, initialization, construction.

use crate::torch::to_channels_last;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn::{self, Init, Path};

/// Whether convolutions add a bias. Before a norm it changes nothing, so modern networks leave it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConvBias {
    /// No bias, as in the paper's networks.
    #[default]
    Without,
    /// A bias that starts at 0.
    With,
}

/// How the weights of convolutions start. Norm weights start at 1, all biases at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Initialization {
    /// U(−b, b), b = √(6/(fan in + fan out)), for convolutions and linear layers.
    ///
    /// # Source
    ///
    /// Glorot & Bengio 2010, equation 16.
    XavierUniform,
    /// N(0, 2/fan in) for convolutions, U(−b, b) with b = 1/√(fan in) for linear layers: torchvision's choice.
    ///
    /// # Source
    ///
    /// He et al. 2015, equation 10.
    #[default]
    KaimingFanIn,
    /// N(0, 2/fan out) for convolutions, linear layers as in `KaimingFanIn`: the choice of the paper's own code.
    ///
    /// # Source
    ///
    /// He et al. 2015, equation 14.
    KaimingFanOut,
}

impl Initialization {
    fn conv(self, fan_in: f64, fan_out: f64) -> Init {
        let normal = |fan: f64| Init::Randn { mean: 0.0, stdev: (2.0 / fan).sqrt() };
        match self {
            Initialization::XavierUniform => xavier(fan_in, fan_out),
            Initialization::KaimingFanIn => normal(fan_in),
            Initialization::KaimingFanOut => normal(fan_out),
        }
    }

    fn linear(self, fan_in: f64, fan_out: f64) -> Init {
        match self {
            Initialization::XavierUniform => xavier(fan_in, fan_out),
            _ => Init::Uniform { lo: -fan_in.sqrt().recip(), up: fan_in.sqrt().recip() },
        }
    }
}

fn xavier(fan_in: f64, fan_out: f64) -> Init {
    let bound = (6.0 / (fan_in + fan_out)).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A square convolution: everything about it that decides shapes and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvGeometry {
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub bias: ConvBias,
}

impl ConvGeometry {
    /// A convolution that keeps the size: odd kernel, stride 1.
    pub fn same(in_channels: usize, out_channels: usize, kernel: usize, bias: ConvBias) -> Self {
        ConvGeometry { in_channels, out_channels, kernel, stride: 1, padding: kernel / 2, bias }
    }

    /// Builds the convolution with the variables `weight` and, if asked for, `bias`.
    pub fn build(&self, path: &Path, initialization: Initialization) -> Result<nn::Conv2D> {
        ensure_free(path, "weight")?;
        let area = (self.kernel * self.kernel) as f64;
        let config = nn::ConvConfig {
            stride: self.stride as i64,
            padding: self.padding as i64,
            bias: self.bias == ConvBias::With,
            ws_init: initialization.conv(self.in_channels as f64 * area, self.out_channels as f64 * area),
            bs_init: Init::Const(0.0),
            ..Default::default()
        };
        let (inputs, outputs) = (self.in_channels as i64, self.out_channels as i64);
        let mut conv = nn::conv2d(path, inputs, outputs, self.kernel as i64, config);
        // The order of a convolution's weight decides the order of its output, and channels-last is the faster one.
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
) -> Result<nn::Linear> {
    ensure_free(path, "weight")?;
    let config = nn::LinearConfig {
        ws_init: initialization.linear(inputs as f64, outputs as f64),
        bs_init: Some(Init::Const(0.0)),
        bias: true,
    };
    Ok(nn::linear(path, inputs as i64, outputs as i64, config))
}

/// An error where the variable exists: tch would silently give the second one another name.
pub(crate) fn ensure_free(path: &Path, variable: &str) -> Result<()> {
    match path.get(variable) {
        Some(_) => Err(Error::VariableExists { name: path.path(variable) }),
        None => Ok(()),
    }
}

/// A channel count that has to fit libtorch's `i64`, and sums and products of which must not overflow.
pub(crate) fn checked(what: &'static str, value: Option<usize>) -> Result<usize> {
    value.filter(|&value| value <= MAX_CHANNELS).ok_or(Error::Overflow { what, limit: MAX_CHANNELS })
}

/// More channels than any network has, and few enough that no product of two of them and a kernel overflows.
const MAX_CHANNELS: usize = 1 << 24;
