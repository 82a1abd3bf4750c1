//! Initial weights: their distribution, and where their random numbers come from.

use crate::Result;
use crate::kernels::{STEP, scramble};
use crate::torch::{draw, no_grad};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use tch::Tensor;
use tch::nn::Init;

/// The distribution of the initial weights of convolutions and linear layers. Norm weights start at 1, all biases at 0.
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
    /// Returns the distribution of a convolution's weights.
    pub(super) fn conv(self, fan_in: f64, fan_out: f64) -> Init {
        let normal = |fan: f64| Init::Randn { mean: 0.0, stdev: (2.0 / fan).sqrt() };
        match self {
            Initialization::XavierUniform => xavier(fan_in, fan_out),
            Initialization::KaimingFanIn => normal(fan_in),
            Initialization::KaimingFanOut => normal(fan_out),
        }
    }

    /// Returns the distribution of a linear layer's weights.
    pub(super) fn linear(self, fan_in: f64, fan_out: f64) -> Init {
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

/// The source of the random numbers of initial weights.
pub(crate) enum Draws {
    /// libtorch's default generator, as in tch's own modules.
    Libtorch,
    /// A seed: each variable's numbers follow from the seed and the number of variables before it.
    Seeded { seed: u64, variables: Cell<u64> },
}

impl Draws {
    /// Creates a source whose random numbers follow from `seed` alone.
    pub fn seeded(seed: u64) -> Self {
        Draws::Seeded { seed, variables: Cell::new(0) }
    }

    /// Returns the initialization that tch is given for a variable that [`fill`](Self::fill) then fills.
    pub(super) fn init(&self, distribution: Init) -> Init {
        match self {
            Draws::Libtorch => distribution,
            Draws::Seeded { .. } => Init::Const(0.0),
        }
    }

    /// Fills the next variable with its initial values.
    pub(super) fn fill(&self, variable: &Tensor, distribution: Init) -> Result<()> {
        let Draws::Seeded { seed, variables } = self else { return Ok(()) };
        let number = variables.replace(variables.get() + 1);
        let seed = scramble(scramble(*seed).wrapping_add((number + 1).wrapping_mul(STEP)));
        let values = draw(&variable.size(), distribution, seed)?;
        no_grad(|| variable.shallow_clone().copy_(&values));
        Ok(())
    }
}
