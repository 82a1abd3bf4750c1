//! Checks of a bundle: its values, and its network against the tensors that there are.

use super::Bundle;
use crate::error::WeightsProblem;
use crate::models::DenseNetConfig;
use crate::torch::named_variables;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;

/// Longest name of a class in bytes.
const MAX_NAME: usize = 1024;
/// Longest side of an image in pixels.
const MAX_SIDE: usize = 16_384;
/// Most values of an input: 64 MiB of f32, as a [`PredictorConfig`](crate::predict::PredictorConfig) has in a batch.
const MAX_INPUT: usize = 1 << 24;

impl Bundle {
    /// Checks all values. The network's layers are listed, so that their number has to be checked before where the
    /// configuration comes from a file.
    pub(super) fn check(&self) -> Result<()> {
        let Bundle { config, classes, preprocess, image_size, fit, .. } = self;
        config.variables()?;
        config.norm.check()?;
        config.dropout.check()?;
        if !classes.is_empty() && classes.len() != config.classes {
            let value = format!("{} names for {} outputs", classes.len(), config.classes);
            return Err(Error::invalid_value("class names", value, "one name per output, or none at all"));
        }
        if let Some(long) = classes.iter().find(|name| name.len() > MAX_NAME) {
            let value = format!("a name of {} bytes", long.len());
            return Err(Error::invalid_value("class names", value, "at most 1024 bytes each"));
        }
        if let Some([height, width]) = image_size
            && ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(*side))
        {
            return Err(Error::invalid_value("image size", format!("{height}×{width}"), "1 to 16384 pixels a side"));
        }
        if let Some(size) = image_size {
            fit.check(*size)?;
        }
        let [height, width] = image_size.unwrap_or([1, 1]);
        preprocess.output_shape(&[config.input_channels, height, width])?;
        let Some(input) = self.input_shape() else { return Ok(()) };
        if input.iter().try_fold(1_usize, |values, &size| values.checked_mul(size)).is_none_or(|all| all > MAX_INPUT) {
            return Err(Error::invalid_value("shape of an input", format!("{input:?}"), "of at most 2²⁴ values"));
        }
        config.summary(input).map(drop)
    }
}

/// Names and shapes of tensors.
pub(super) type Shapes = BTreeMap<String, Vec<i64>>;

/// Returns names and shapes of all variables.
pub(super) fn shapes(vs: &VarStore) -> Shapes {
    named_variables(vs).into_iter().map(|own| (own.name, own.tensor.size())).collect()
}

/// Checks that the network has no more layers than there are tensors, so that listing them takes little memory whatever
/// a file says.
pub(super) fn number_of_layers(config: &DenseNetConfig, tensors: usize) -> Result<()> {
    let layers = config.layers_per_block.iter().try_fold(0_usize, |sum, &layers| sum.checked_add(layers));
    match layers.is_some_and(|layers| layers.max(config.layers_per_block.len()) <= tensors) {
        true => Ok(()),
        false => {
            let value = format!("{:?}", &config.layers_per_block[..config.layers_per_block.len().min(8)]);
            Err(Error::invalid_value("layers per block", value, "at most as many as the file has tensors"))
        }
    }
}

/// Checks that there is a tensor of the right shape for each variable of the network. A network whose variables all are
/// in a file is not larger than the file.
pub(super) fn variables(config: &DenseNetConfig, found: &Shapes, path: &Path) -> Result<()> {
    let failed = |problem| Err(Error::Weights { path: path.to_owned(), problem });
    let expected = config.variables()?;
    let missing: Vec<_> = expected.iter().map(|(name, _)| name).filter(|name| !found.contains_key(*name)).collect();
    if !missing.is_empty() {
        return failed(WeightsProblem::Missing { tensors: missing.into_iter().cloned().collect() });
    }
    for (name, shape) in &expected {
        let wanted: Vec<i64> = shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        if found[name] != wanted {
            let found = found[name].clone();
            return failed(WeightsProblem::Shape { tensor: name.clone(), found, wanted });
        }
    }
    let names: BTreeMap<_, _> = expected.iter().map(|(name, _)| (name, ())).collect();
    // A counter of PyTorch's norms, which `load` ignores too.
    let is_other = |name: &&String| !names.contains_key(name) && !name.ends_with(".num_batches_tracked");
    let unexpected: Vec<_> = found.keys().filter(is_other).cloned().collect();
    if unexpected.is_empty() { Ok(()) } else { failed(WeightsProblem::Unexpected { tensors: unexpected }) }
}
