//! The tutorial's network written with tch alone.

use densenet::tch::nn::{self, ConvConfig, ModuleT, Path, SequentialT};
use densenet::tch::{Kind, Tensor};

/// Norm → ReLU → 3×3 convolution.
#[derive(Debug)]
struct Layer {
    norm: nn::BatchNorm,
    conv: nn::Conv2D,
}

impl ModuleT for Layer {
    fn forward_t(&self, x: &Tensor, train: bool) -> Tensor {
        let new = x.apply_t(&self.norm, train).relu().apply(&self.conv);
        Tensor::cat(&[x, &new], 1)
    }
}

/// Layers of which each appends `k` channels to its input.
pub fn dense_block(path: &Path, channels: i64, layers: i64, k: i64) -> SequentialT {
    (0..layers).fold(nn::seq_t(), |block, i| {
        let (path, inputs) = (path / i, channels + i * k);
        let padded = ConvConfig { padding: 1, ..Default::default() };
        block.add(Layer {
            norm: nn::batch_norm2d(&path / "norm", inputs, Default::default()),
            conv: nn::conv2d(&path / "conv", inputs, k, 3, padded),
        })
    })
}

/// Stem, four blocks of four layers, transitions between them, head.
pub fn densenet(path: &Path) -> SequentialT {
    let stem = ConvConfig { stride: 2, padding: 1, ..Default::default() };
    let mut channels = 64;
    let mut net = nn::seq_t()
        .add(nn::conv2d(path / "stem", 1, channels, 7, stem))
        .add(nn::batch_norm2d(path / "stem_norm", channels, Default::default()))
        .add_fn(|x| x.relu().max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false));
    for stage in 0..4 {
        let path = path / stage;
        net = net.add(dense_block(&(&path / "block"), channels, 4, 32));
        channels += 4 * 32;
        net = net.add(nn::batch_norm2d(&path / "norm", channels, Default::default())).add_fn(|x| x.relu());
        if stage < 3 {
            net = net
                .add(nn::conv2d(&path / "conv", channels, channels / 2, 1, Default::default()))
                .add_fn(|x| x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None));
            channels /= 2;
        }
    }
    net.add_fn(|x| x.mean_dim([2, 3].as_slice(), false, None::<Kind>)).add(nn::linear(
        path / "head",
        channels,
        10,
        Default::default(),
    ))
}
