//! A crate outside of densenet's repository; `tests/install/run` builds it and starts its binary directly.

use densenet::tch::{Kind, Tensor, nn::VarStore};
use densenet::{DenseNetConfig, Result, default_device};

fn main() -> Result<()> {
    let vs = VarStore::new(default_device());
    let config = DenseNetConfig::new(3).with_initial_channels(8).with_growth_rate(4).with_layers_per_block([1, 1]);
    let model = config.build(&vs.root())?;
    let images = Tensor::zeros([1, 3, 32, 32], (Kind::Float, vs.device()));
    let output = densenet::tch::nn::ModuleT::forward_t(&model, &images, false);
    println!("own variable {}, output {:?}", env!("OWN_VARIABLE"), output.size());
    Ok(())
}
