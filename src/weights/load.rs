//! Loads weights into a model, all of them or none.

use super::names::{Matched, common_prefix, matched};
use super::open::open;
use super::report::LoadReport;
use super::source::{TensorInfo, TensorSource};
use crate::error::WeightsProblem;
use crate::tensor_file::dtype_name;
use crate::torch::{Variable, all_finite, named_variables, no_grad};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// Options of [`load`]. By default the file has to have exactly the model's variables.
///
/// # Examples
///
/// ```
/// use densenet::weights::LoadConfig;
///
/// // Weights of ImageNet for a model of gray images with other classes.
/// let config = LoadConfig::new().with_new_head().with_summed_stem();
///
/// // The averaged weights in a larger training checkpoint, even if a few are missing.
/// let config = LoadConfig::new()
///     .with_prefix("state_dict_ema.")
///     .non_strict(95);
/// # let _ = config;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadConfig {
    /// Whether the classifier stays as the model was built.
    new_head: bool,
    /// Whether the three input channels of a first convolution are summed for a model of one.
    summed_stem: bool,
    /// Least share of the model's variables in percent where loading is non-strict; `None` where it is strict.
    min_percent: Option<u32>,
    /// The text before the variables' names in the file, such as "state_dict_ema."; tensors without it are ignored.
    /// Default: `None`, the prefix that gives the most of the model's names. Two such prefixes are an error.
    pub prefix: Option<String>,
}

impl LoadConfig {
    /// Creates options that load every variable and refuse every other tensor.
    pub fn new() -> Self {
        LoadConfig::default()
    }

    /// Keeps the classifier, the last layer, as the model was built, to fine-tune on a different number of classes. The
    /// file's own classifier is ignored, and may consist of several layers: it is everything below `classifier.`.
    /// Default: it is loaded as every other layer.
    #[must_use]
    pub fn with_new_head(self) -> Self {
        LoadConfig { new_head: true, ..self }
    }

    /// Sums the weights of the file's first convolution over its three input channels where the model's has one: a gray
    /// image then gives the features that it would give as an RGB image. Default: shapes have to be equal.
    #[must_use]
    pub fn with_summed_stem(self) -> Self {
        LoadConfig { summed_stem: true, ..self }
    }

    /// Loads the tensors that the model has variables for, as `load_state_dict(strict=False)` of PyTorch: missing
    /// variables keep their values, and unexpected tensors are ignored. The file has to have at least `min_percent` %
    /// of the model's variables, 1 to 100. Default: a missing or an unexpected tensor is an error.
    #[must_use]
    pub fn non_strict(self, min_percent: u32) -> Self {
        LoadConfig { min_percent: Some(min_percent), ..self }
    }

    /// Sets the text before the variables' names in the file, such as "state_dict_ema."; tensors without it are
    /// ignored.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }
}

/// Lists the tensors of a file of weights with their dtypes and shapes. Reads no values.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Weights`] where it is damaged or of an unknown format.
pub fn inspect(path: impl AsRef<Path>) -> Result<Vec<TensorInfo>> {
    Ok(open(path.as_ref())?.tensors())
}

/// Loads pretrained weights from a file: safetensors, or what `torch.save` wrote (with the feature `pth`).
///
/// Names may be those of torchvision, of its first files, of timm or of efficient_densenet_pytorch, with or without the
/// prefix of a wrapper such as `module.`. Values of another dtype are converted to that of the variable.
///
/// All names and shapes are checked and all tensors are read before the first variable changes: an error leaves the
/// model as it was. No code in a file is run; objects beside the tensors are ignored.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Weights`] where it is damaged, hostile or of another model;
/// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a percentage that is not from 1 to 100.
///
/// # Examples
///
/// ```
/// use densenet::DenseNetConfig;
/// use densenet::tch::{Device, nn::VarStore};
/// use densenet::weights::{LoadConfig, load, save_safetensors};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("densenet.safetensors");
/// let small = DenseNetConfig::densenet121(10).with_growth_rate(8).with_layers_per_block([2, 2]);
/// let trained = VarStore::new(Device::Cpu);
/// small.build(&trained.root())?;
/// save_safetensors(&trained, &path)?;
///
/// // Other classes: everything but the classifier.
/// let vs = VarStore::new(Device::Cpu);
/// small.with_classes(3).build(&vs.root())?;
/// let report = load(&vs, &path, &LoadConfig::new().with_new_head())?;
/// assert_eq!(report.kept, ["classifier.bias", "classifier.weight"]);
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn load(vs: &VarStore, path: impl AsRef<Path>, config: &LoadConfig) -> Result<LoadReport> {
    if let Some(percent @ (0 | 101..)) = config.min_percent {
        let (field, value, expected) = ("the least share of variables", format!("{percent} %"), "1 to 100 %");
        return Err(Error::invalid_value(field, value, expected));
    }
    let path = path.as_ref();
    let failed = |problem| Error::Weights { path: path.to_owned(), problem };
    let mut file = open(path)?;
    let variables: BTreeMap<String, Tensor> =
        named_variables(vs).into_iter().map(|Variable { name, tensor, .. }| (name, tensor)).collect();
    let (mut report, steps) = plan(file.as_ref(), &variables, config).map_err(failed)?;
    let mut copies = Vec::with_capacity(steps.len());
    for Step { variable, tensor, sum } in steps {
        let target = &variables[&variable];
        let source = file.read(&tensor).and_then(|source| require_float(&tensor, source)).map_err(failed)?;
        report.converted.extend(conversion(sum, source.kind(), target.kind()).map(|by| (variable.clone(), by)));
        // Operations that can run out of memory come before the first copy.
        let summed = if sum { source.f_sum_dim_intlist([1].as_slice(), true, None::<Kind>) } else { Ok(source) };
        let source = summed
            .and_then(|source| source.f_to_device(target.device())?.f_to_kind(target.kind()))
            .map_err(Error::libtorch("conversion of weights"))?;
        report.warnings.extend(warning(&variable, &source)?.map(|reason| (variable.clone(), reason)));
        copies.push((target.shallow_clone(), source));
        report.loaded.insert(variable, tensor);
    }
    no_grad(|| copies.into_iter().for_each(|(mut target, source)| target.copy_(&source)));
    Ok(report)
}

/// One tensor to load.
struct Step {
    variable: String,
    tensor: String,
    /// Whether its three channels are summed.
    sum: bool,
}

/// Determines by names and shapes which tensors are loaded, before any tensor is read.
fn plan(
    file: &dyn TensorSource,
    variables: &BTreeMap<String, Tensor>,
    config: &LoadConfig,
) -> Result<(LoadReport, Vec<Step>), WeightsProblem> {
    let infos: BTreeMap<String, TensorInfo> =
        file.tensors().into_iter().map(|info| (info.name.clone(), info)).collect();
    let names: Vec<String> = infos.keys().cloned().collect();
    let wanted = variables.keys().cloned().collect();
    let prefix = match &config.prefix {
        Some(prefix) => prefix,
        None => common_prefix(&names, &wanted).map_err(|parts| WeightsProblem::Ambiguous { parts })?,
    };
    let mut matched = matched(&names, prefix, &wanted);
    if let Some([first, second, variable]) = matched.duplicate {
        return Err(WeightsProblem::Twice { first, second, variable });
    }
    let report = check_names(&mut matched, prefix, variables, config)?;
    let steps = matched.tensors.into_iter().map(|(variable, tensor)| {
        file.check(&tensor)?;
        let sum = sums_channels(&infos[&tensor], &variable, &variables[&variable], config.summed_stem)?;
        Ok(Step { variable, tensor, sum })
    });
    Ok((report, steps.collect::<Result<_, WeightsProblem>>()?))
}

/// Removes tensors that are not to be loaded from `matched`, and checks the rest by the configured strictness.
fn check_names(
    matched: &mut Matched,
    prefix: &str,
    variables: &BTreeMap<String, Tensor>,
    config: &LoadConfig,
) -> Result<LoadReport, WeightsProblem> {
    let is_head = |name: &str| name.starts_with("classifier.");
    let mut report = LoadReport { ignored: matched.ignored.clone(), ..Default::default() };
    if config.new_head {
        report.kept = variables.keys().filter(|name| is_head(name)).cloned().collect();
        report.ignored.extend(report.kept.iter().filter_map(|name| matched.tensors.remove(name)));
        let own_name = |name: &String| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        report.ignored.extend(matched.unexpected.extract_if(.., |name| is_head(&own_name(name))));
    }
    let is_missing = |name: &&String| !matched.tensors.contains_key(*name) && !report.kept.contains(name);
    report.missing = variables.keys().filter(is_missing).cloned().collect();
    report.unexpected = matched.unexpected.clone();
    let (loaded, wanted) = (matched.tensors.len(), variables.len() - report.kept.len());
    match config.min_percent {
        None if !report.unexpected.is_empty() => Err(WeightsProblem::Unexpected { tensors: report.unexpected }),
        None if !report.missing.is_empty() => Err(WeightsProblem::Missing { tensors: report.missing }),
        Some(percent) if loaded * 100 < wanted * percent as usize => {
            Err(WeightsProblem::Coverage { used: loaded, variables: wanted, percent })
        }
        _ => Ok(report),
    }
}

/// Says why a network cannot compute with a variable of these values; `None` where it can.
fn warning(variable: &str, values: &Tensor) -> Result<Option<String>> {
    if !all_finite(&[values])? {
        return Ok(Some("values that are not finite".to_owned()));
    }
    let is_negative = || values.f_lt(0.0)?.f_any().map(|any| any.int64_value(&[]) == 1);
    let is_wrong = variable.ends_with(".running_var") && is_negative().map_err(Error::libtorch("check of weights"))?;
    Ok(is_wrong.then(|| "negative variances".to_owned()))
}

/// Refuses a tensor of integers or truth values, which are no weights.
fn require_float(name: &str, tensor: Tensor) -> Result<Tensor, WeightsProblem> {
    match tensor.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => Ok(tensor),
        kind => {
            let problem = format!("its dtype is {}, which no weights have", dtype_name(kind));
            Err(WeightsProblem::Tensor { tensor: name.to_owned(), problem })
        }
    }
}

/// Decides whether the tensor's three channels are summed; an error where its shape does not fit at all.
fn sums_channels(info: &TensorInfo, name: &str, variable: &Tensor, summed_stem: bool) -> Result<bool, WeightsProblem> {
    let (found, wanted) = (&info.shape[..], variable.size());
    let may_sum = summed_stem && name == "features.conv0.weight";
    match *found {
        _ if found == wanted => Ok(false),
        [out, 3, h, w] if may_sum && wanted == [out, 1, h, w] => Ok(true),
        _ => Err(WeightsProblem::Shape { tensor: info.name.clone(), found: found.to_vec(), wanted }),
    }
}

/// Describes the conversion before the copy; `None` where there is none.
fn conversion(sum: bool, found: Kind, wanted: Kind) -> Option<String> {
    let shape = sum.then(|| "3 channels summed".to_owned());
    let dtype = (found != wanted).then(|| format!("{} to {}", dtype_name(found), dtype_name(wanted)));
    let changes: Vec<String> = shape.into_iter().chain(dtype).collect();
    (!changes.is_empty()).then(|| changes.join(", "))
}
