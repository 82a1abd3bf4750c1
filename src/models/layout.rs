//! The operations of a DenseNet in their order, which determine sizes, counts and checks.

use super::DenseNetConfig;
use super::config::StageConfig;
use crate::error::{ConfigError, InputError};
use crate::nn::{ConvGeometry, Mode};
use crate::{Error, Result};

/// One operation and the prefix of its variables, or a description where it has none.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub name: String,
    pub operation: Operation,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Conv(ConvGeometry),
    NormRelu {
        channels: usize,
    },
    /// Max pooling 3×3 with this stride.
    MaxPool {
        channels: usize,
        stride: usize,
    },
    AvgPool {
        channels: usize,
    },
    /// Every second pixel of a 3×3 blur with mirrored edges.
    Blur {
        channels: usize,
    },
    GlobalAvgPool {
        channels: usize,
    },
    Linear {
        inputs: usize,
        outputs: usize,
    },
}

/// Height and width in pixels.
pub(super) type Size = [usize; 2];

impl Operation {
    /// Returns the size of the output; 0 where nothing is left.
    pub fn out_size(&self, size: Size) -> Size {
        let window = |kernel: usize, stride: usize, padding: usize| {
            size.map(|side| match (side + 2 * padding).checked_sub(kernel) {
                Some(rest) if side > 0 => rest / stride + 1,
                _ => 0,
            })
        };
        match self {
            Operation::Conv(conv) => window(conv.kernel, conv.stride, conv.padding),
            Operation::NormRelu { .. } => size,
            Operation::MaxPool { stride, .. } => window(3, *stride, 1),
            // There has to be a second pixel to mirror.
            Operation::Blur { .. } if size.contains(&1) => [0, 0],
            Operation::Blur { .. } => window(3, 2, 1),
            Operation::AvgPool { .. } => window(2, 2, 0),
            Operation::GlobalAvgPool { .. } | Operation::Linear { .. } => [1, 1],
        }
    }
}

/// Returns all operations of the network in the order in which they run, from the stem's convolutions and the network's
/// stages.
pub(super) fn layout(config: &DenseNetConfig, convs: &[ConvGeometry], stages: &[StageConfig]) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut push = |name: String, operation| layers.push(Layer { name, operation });
    let initial = config.initial_channels;
    for (number, conv) in convs.iter().enumerate() {
        push(format!("features.conv{number}"), Operation::Conv(*conv));
        if number + 1 < convs.len() || config.stem.pool {
            push(format!("features.norm{number}"), Operation::NormRelu { channels: conv.out_channels });
        }
    }
    if config.stem.pool {
        let stride = if config.stem.blur { 1 } else { 2 };
        push("features.pool0".into(), Operation::MaxPool { channels: initial, stride });
        if config.stem.blur {
            push("features.blur0".into(), Operation::Blur { channels: initial });
        }
    }
    for (b, stage) in (1..).zip(stages) {
        for (l, layer) in (1..).zip(&stage.layers) {
            for (i, conv) in (1..).zip(&layer.convs) {
                let name = |part| format!("features.denseblock{b}.denselayer{l}.{part}{i}");
                push(name("norm"), Operation::NormRelu { channels: conv.in_channels });
                push(name("conv"), Operation::Conv(*conv));
            }
        }
        if let Some(transition) = &stage.transition {
            let name = |part| format!("features.transition{b}.{part}");
            push(name("norm"), Operation::NormRelu { channels: transition.in_channels });
            push(name("conv"), Operation::Conv(transition.conv()));
            let channels = transition.out_channels;
            match transition.blur {
                true => push(name("blur"), Operation::Blur { channels }),
                false => push(name("pool"), Operation::AvgPool { channels }),
            }
        }
    }
    let channels = stages.last().expect("there is at least one block").out_channels;
    push("features.norm5".into(), Operation::NormRelu { channels });
    push("global pooling".into(), Operation::GlobalAvgPool { channels });
    push("classifier".into(), Operation::Linear { inputs: channels, outputs: config.classes });
    layers
}

/// Checks that a batch fits: every layer has an output, and in training every norm reads more than one value per
/// channel.
pub(super) fn check(layers: &[Layer], batch: usize, size: Size, mode: Mode) -> Result<()> {
    let [height, width] = size;
    if height.max(width) > LARGEST_SIDE {
        return Err(Error::Config(ConfigError::Overflow {
            what: "a side of the input in pixels",
            limit: LARGEST_SIDE,
        }));
    }
    let mut current = size;
    for layer in layers {
        let is_norm = matches!(layer.operation, Operation::NormRelu { .. });
        if is_norm && mode.uses_batch_statistics() && batch * current[0] * current[1] == 1 {
            return Err(Error::Input(InputError::OneValuePerChannel {
                batch,
                height,
                width,
                layer: layer.name.clone(),
            }));
        }
        current = layer.operation.out_size(current);
        if current.contains(&0) {
            let smallest = smallest_side(layers)?;
            return Err(Error::Input(InputError::InputTooSmall { height, width, layer: layer.name.clone(), smallest }));
        }
    }
    Ok(())
}

/// Largest side of an image in pixels: larger than any real one, and small enough that no size of a layer overflows.
const LARGEST_SIDE: usize = 1 << 24;

/// Returns the smallest side of a square image for which no output of a layer is empty.
pub(super) fn smallest_side(layers: &[Layer]) -> Result<usize> {
    let fits = |side| {
        let mut size = [side, side];
        layers.iter().all(|layer| {
            size = layer.operation.out_size(size);
            size[0] > 0
        })
    };
    if !fits(LARGEST_SIDE) {
        return Err(Error::Config(ConfigError::Overflow {
            what: "the smallest input's side in pixels",
            limit: LARGEST_SIDE,
        }));
    }
    let (mut too_small, mut enough) = (0, LARGEST_SIDE);
    while enough - too_small > 1 {
        let side = (too_small + enough) / 2;
        if fits(side) { enough = side } else { too_small = side }
    }
    Ok(enough)
}
