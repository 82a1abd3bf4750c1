//! The dense block: each layer reads the features of all layers before it.

use super::dense_layer::{DenseLayer, DenseLayerConfig};
use super::{
    ConvBias, Dropout, Execution, Features, ForwardContext, Initialization, LayerKind, Mode, NormReluConfig, checked,
    fused,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{ModuleT, Path};

/// Configuration of a [`DenseBlock`].
///
/// # Examples
///
/// ```
/// use densenet::nn::{DenseBlockConfig, LayerKind};
/// use densenet::tch::{Device, Kind, Tensor, nn::ModuleT, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let block = DenseBlockConfig::new(3, 2)
///     .with_growth_rate(10)
///     .with_layer_kind(LayerKind::Plain)
///     .build(&vs.root())?;
/// let x = Tensor::rand([4, 3, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(block.forward_t(&x, true).size(), [4, 23, 8, 8]);
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// # Source
///
/// Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DenseBlockConfig {
    /// Channels that the block reads, at least 1.
    pub in_channels: usize,
    /// Number of layers, at least 1.
    #[doc(alias = "convs_per_block")]
    pub layers: usize,
    /// Channels that each layer adds, at least 1; `k` in the paper. Default 32.
    pub growth_rate: usize,
    /// Plain or bottleneck layers. Default: bottlenecks of factor 4.
    pub layer_kind: LayerKind,
    /// Whether the convolutions have a bias. Default: without.
    pub conv_bias: ConvBias,
    /// How weights start. Default: Kaiming, fan in.
    pub initialization: Initialization,
    /// ε and momentum of the norms.
    pub norm: NormReluConfig,
    /// Default: none.
    pub dropout: Dropout,
}

impl DenseBlockConfig {
    /// A block of so many layers on so many channels.
    pub fn new(in_channels: usize, layers: usize) -> Self {
        DenseBlockConfig {
            in_channels,
            layers,
            growth_rate: 32,
            layer_kind: LayerKind::default(),
            conv_bias: ConvBias::default(),
            initialization: Initialization::default(),
            norm: NormReluConfig::default(),
            dropout: Dropout::default(),
        }
    }

    setters! {
        with_growth_rate => growth_rate: usize,
        with_layer_kind => layer_kind: LayerKind,
        with_conv_bias => conv_bias: ConvBias,
        with_initialization => initialization: Initialization,
        with_norm => norm: NormReluConfig,
        with_dropout => dropout: Dropout,
    }

    /// Channels of the output: those of the input and `k` a layer.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn out_channels(&self) -> Result<usize> {
        let added = self.layers.checked_mul(self.growth_rate);
        checked("channels of a dense block", added.and_then(|added| added.checked_add(self.in_channels)))
    }

    /// The configurations of the layers, first to last.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`].
    pub fn layer_configs(&self) -> Result<Vec<DenseLayerConfig>> {
        Error::at_least_one("layers of a dense block", self.layers)?;
        self.out_channels()?;
        let layer = |index: usize| DenseLayerConfig {
            in_channels: self.in_channels + index * self.growth_rate,
            growth_rate: self.growth_rate,
            kind: self.layer_kind,
            conv_bias: self.conv_bias,
            initialization: self.initialization,
            norm: self.norm,
            dropout: self.dropout,
        };
        let layers: Vec<_> = (0..self.layers).map(layer).collect();
        layers[0].check()?;
        Ok(layers)
    }

    /// Builds the block with the variables `denselayer1.*`, `denselayer2.*` and so on under `path`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], [`Error::Overflow`], [`Error::VariableExists`].
    pub fn build(&self, path: &Path) -> Result<DenseBlock> {
        let layers = self.layer_configs()?.into_iter().enumerate();
        let layers = layers.map(|(i, layer)| layer.build(&(path / format!("denselayer{}", i + 1))));
        Ok(DenseBlock { layers: layers.collect::<Result<_>>()? })
    }
}

/// Layers of which each reads the features of all before it.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, C + layers·k, H, W]`.
#[derive(Debug)]
pub struct DenseBlock {
    layers: Vec<DenseLayer>,
}

impl DenseBlock {
    /// Adds the layers' features to those given. This is the one place where it is decided how a block is executed.
    ///
    /// # Panics
    ///
    /// If the features have other channels than the block was built for, or, in training mode, one value a channel.
    pub fn forward(&self, features: Features, ctx: &ForwardContext) -> Features {
        let run = match &features.data {
            x if ctx.fused() && fused::takes(x) => fused::dense_block,
            x if ctx.execution == Execution::Fused && fused::is_on_gpu(x) => fused::dense_block_on_device,
            _ => return self.composed(features, ctx),
        };
        let layers: Vec<_> = self.layers.iter().map(|layer| layer.fused(ctx)).collect();
        layers[0].stages[0].norm.check(&features.data, ctx);
        run(features, &layers, ctx).unwrap_or_else(|error| panic!("{error}"))
    }

    fn composed(&self, features: Features, ctx: &ForwardContext) -> Features {
        self.layers.iter().fold(features, |features, layer| {
            let new = layer.forward(&features, ctx);
            Features::new(Tensor::cat(&[features.data, new], 1))
        })
    }
}

impl ModuleT for DenseBlock {
    /// # Panics
    ///
    /// If `xs` has other channels than the block was built for, or, in training mode, one value a channel.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.forward(Features::new(xs.shallow_clone()), &ForwardContext::new(Mode::from(train))).data
    }
}

#[cfg(test)]
mod tests {
    //! The block for GPUs on a CPU, where stand-ins take the place of the operations that libtorch has for GPUs only.

    use super::*;
    use crate::nn::{DropoutPlace, Memory};
    use crate::torch::named_variables;
    use tch::nn::VarStore;
    use tch::{Device, Kind, no_grad};

    fn values(size: &[i64], salt: f64) -> Tensor {
        (Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 1.7 + salt).sin().view(size)
    }

    fn built(config: &DenseBlockConfig) -> (VarStore, DenseBlock) {
        let mut vs = VarStore::new(Device::Cpu);
        let block = config.build(&vs.root()).unwrap();
        vs.double();
        for (number, mut variable) in named_variables(&vs).into_iter().enumerate() {
            let noise = values(&variable.tensor.size(), number as f64);
            let moved = if variable.name.ends_with("running_var") { noise * 0.4 + 1.0 } else { noise * 0.7 + 0.1 };
            no_grad(|| variable.tensor.copy_(&moved));
        }
        (vs, block)
    }

    /// Output, gradient of the input, gradients and running statistics of one pass, after which all is as it was.
    fn pass(vs: &VarStore, x: &Tensor, forward: impl Fn(Features) -> Features) -> Vec<(String, Tensor)> {
        let before: Vec<_> = named_variables(vs).into_iter().map(|v| (v.tensor.detach().copy(), v)).collect();
        let x = x.copy().set_requires_grad(true);
        tch::manual_seed(11);
        let y = forward(Features::new(x.shallow_clone())).data;
        (&y * values(&y.size(), 5.0)).sum(Kind::Double).backward();
        let mut result = vec![("output".to_owned(), y.detach()), ("input".to_owned(), x.grad())];
        for (old, mut variable) in before {
            if variable.tensor.requires_grad() {
                result.push((variable.name, variable.tensor.grad().copy()));
                variable.tensor.zero_grad();
            } else {
                result.push((variable.name, variable.tensor.detach().copy()));
                no_grad(|| variable.tensor.copy_(&old));
            }
        }
        result
    }

    fn assert_equal(own: &[(String, Tensor)], reference: &[(String, Tensor)], what: &str) {
        let largest = reference.iter().map(|(_, t)| t.abs().max().double_value(&[])).fold(0.0, f64::max);
        for ((name, own), (_, reference)) in own.iter().zip(reference) {
            assert_eq!(own.defined(), reference.defined(), "{what}: {name}");
            if own.defined() {
                let deviation = (own - reference).abs().max().double_value(&[]);
                assert!(deviation <= 1e-11 * largest, "{what}: {name} deviates by {deviation:e} of {largest:e}");
            }
        }
    }

    const KINDS: [LayerKind; 2] = [LayerKind::Plain, LayerKind::Bottleneck { factor: 2 }];

    fn config(kind: LayerKind) -> DenseBlockConfig {
        DenseBlockConfig::new(5, 3).with_growth_rate(4).with_layer_kind(kind).with_conv_bias(ConvBias::With)
    }

    fn on_device(block: &DenseBlock, features: Features, ctx: &ForwardContext) -> Features {
        let layers: Vec<_> = block.layers.iter().map(|layer| layer.fused(ctx)).collect();
        fused::dense_block_on_device(features, &layers, ctx).unwrap()
    }

    #[test]
    fn the_block_for_gpus_equals_the_composed_one() {
        for (kind, mode) in
            KINDS.iter().flat_map(|k| [Mode::Train, Mode::TrainFrozenNorms, Mode::Eval].map(|m| (*k, m)))
        {
            let (vs, block) = built(&config(kind));
            let x = values(&[3, 5, 6, 7], 2.0);
            let reference = pass(&vs, &x, |x| block.composed(x, &ForwardContext::new(mode)));
            for memory in [Memory::Keep, Memory::Recompute] {
                let ctx = ForwardContext::new(mode).with_memory(memory);
                let own = pass(&vs, &x, |x| on_device(&block, x, &ctx));
                assert_equal(&own, &reference, &format!("{kind:?}, {mode:?}, {memory:?}"));
            }
        }
    }

    #[test]
    fn the_block_for_gpus_leaves_frozen_variables_alone() {
        let frozen = ["conv1.weight", "norm1", "norm2", "conv2", "denselayer1", "denselayer2", "bias"];
        for (kind, frozen) in KINDS.iter().flat_map(|kind| frozen.map(|frozen| (*kind, frozen))) {
            let (vs, block) = built(&config(kind));
            for variable in named_variables(&vs).into_iter().filter(|variable| variable.name.contains(frozen)) {
                let _ = variable.tensor.set_requires_grad(false);
            }
            let x = values(&[3, 5, 6, 7], 2.0);
            let ctx = ForwardContext::new(Mode::Train);
            let reference = pass(&vs, &x, |x| block.composed(x, &ctx));
            assert_equal(&pass(&vs, &x, |x| on_device(&block, x, &ctx)), &reference, &format!("{kind:?}, {frozen}"));
        }
    }

    /// Frozen variables, dropout at both places, and both ways of keeping: with masks known, gradients are those of the same block with
    /// nothing frozen.
    fn check_frozen_with_dropout() {
        let is_in = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let of = |frozen: &[&str], memory: Memory| {
            let place = Dropout::new(0.3).with_place(DropoutPlace::EveryConv);
            let (vs, block) = built(&config(LayerKind::Bottleneck { factor: 2 }).with_dropout(place));
            for variable in named_variables(&vs).into_iter().filter(|variable| is_in(&variable.name, frozen)) {
                let _ = variable.tensor.set_requires_grad(false);
            }
            let x = values(&[3, 5, 6, 7], 2.0);
            let ctx = ForwardContext::new(Mode::Train).with_memory(memory);
            tch::manual_seed(11);
            let y = on_device(&block, Features::new(x), &ctx).data;
            (&y * values(&y.size(), 5.0)).sum(Kind::Double).backward();
            let trained = named_variables(&vs).into_iter().filter(|variable| variable.trainable);
            trained.map(|variable| (variable.name, variable.tensor.grad())).collect::<Vec<_>>()
        };
        let whole = of(&[], Memory::Keep);
        for frozen in [
            &["conv1"][..],
            &["norm1"],
            &["norm2", "denselayer1"],
            &["denselayer2"],
            // Gradients end at the last convolution of each layer.
            &["norm", "conv1"],
            &["denselayer1", "denselayer2", "norm", "conv1"],
        ] {
            for memory in [Memory::Keep, Memory::Recompute] {
                let own: std::collections::BTreeMap<_, _> = of(frozen, memory).into_iter().collect();
                for (name, whole) in whole.iter().filter(|(name, _)| !is_in(name, frozen)) {
                    let deviation = (&own[name] - whole).abs().max().double_value(&[]);
                    assert!(deviation < 1e-9, "{frozen:?} {memory:?} {name}: {deviation}");
                }
            }
        }
    }

    #[test]
    fn the_block_for_gpus_drops_what_libtorch_drops() {
        const ALONE: &str = "DENSENET_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            // In a process of its own: libtorch's generator is the whole process's, and other tests draw from it.
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            alone.args(["nn::dense_block::tests::the_block_for_gpus_drops_what_libtorch_drops", "--exact"]);
            let output = alone.env(ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        check_frozen_with_dropout();
        for (kind, place) in
            KINDS.iter().flat_map(|k| [DropoutPlace::LayerOutput, DropoutPlace::EveryConv].map(|p| (*k, p)))
        {
            let (vs, block) = built(&config(kind).with_dropout(Dropout::new(0.3).with_place(place)));
            let x = values(&[3, 5, 6, 7], 2.0);
            // The same generator draws the same masks.
            let reference = pass(&vs, &x, |x| block.composed(x, &ForwardContext::new(Mode::Train)));
            for memory in [Memory::Keep, Memory::Recompute] {
                let ctx = ForwardContext::new(Mode::Train).with_memory(memory);
                let own = pass(&vs, &x, |x| on_device(&block, x, &ctx));
                assert_equal(&own, &reference, &format!("{kind:?}, {place:?}, {memory:?}"));
            }
        }
    }
}
