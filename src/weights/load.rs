//! Weights into a model: all of them or none.

use super::names::{Matched, matched, wrapper};
use super::source::{self, TensorInfo};
use crate::error::WeightsProblem;
use crate::torch::{Variable, named_variables};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Kind, Tensor, no_grad};

/// What is done with the classifier's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// They are loaded like all others.
    #[default]
    Load,
    /// The model keeps its own, as it was built: for another number of classes.
    Keep,
}

/// What is done where the file's first convolution reads three channels and the model's one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StemChannels {
    /// It is an error, as every other shape is.
    #[default]
    Exact,
    /// The weights of the three are summed: a gray image then gives what it would give as a colored one.
    Sum,
}

/// What is done where names differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// A missing or an unexpected tensor is an error.
    #[default]
    Exact,
    /// What is there is loaded, and what is not stays as it is, where the file has at least so many per cent of the model's variables.
    Partial {
        /// 1 to 100.
        least_percent: u32,
    },
}

/// In which part of a file the weights are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Where the most of the model's names are; two such parts are an error.
    #[default]
    Found,
    /// Behind this name, such as "state_dict_ema.": what stands before the variables' own names.
    Behind(String),
}

/// How weights are loaded. By default the file has exactly the model's variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadConfig {
    /// Default: it is loaded.
    pub head: Head,
    /// Default: the shape has to fit.
    pub stem: StemChannels,
    /// Default: all of them have to fit.
    pub names: Names,
    /// Default: it is looked for.
    pub part: Part,
}

impl LoadConfig {
    /// Everything, exactly.
    pub fn new() -> Self {
        LoadConfig::default()
    }

    setters! {
        with_head => head: Head,
        with_stem => stem: StemChannels,
        with_names => names: Names,
        with_part => part: Part,
    }
}

/// A tensor that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The variable.
    pub variable: String,
    /// The tensor's name in the file.
    pub tensor: String,
    /// What was changed on the way, such as "Half to Float".
    pub converted: Option<String>,
}

/// What became of every tensor and every variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// What was loaded, by variable.
    pub used: Vec<Used>,
    /// Variables that stayed as they were since the file has no tensor for them.
    pub missing: Vec<String>,
    /// Variables of the classifier that were kept.
    pub kept: Vec<String>,
    /// Tensors that are no variable of the model.
    pub unexpected: Vec<String>,
    /// Tensors that are not meant to be: counters of batches, the kept classifier's, what lies beside the weights in a larger file.
    pub ignored: Vec<String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let converted = self.used.iter().filter(|used| used.converted.is_some()).count();
        let renamed = self.used.iter().filter(|used| used.variable != used.tensor).count();
        write!(f, "{} used ({renamed} renamed, {converted} converted)", self.used.len())?;
        for (what, names) in [
            ("kept", &self.kept),
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("ignored", &self.ignored),
        ] {
            write!(f, ", {} {what}", names.len())?;
        }
        Ok(())
    }
}

/// The tensors of a file of weights, by name. Nothing but their descriptions is read.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Weights`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Vec<TensorInfo>> {
    Ok(source::open(path.as_ref())?.tensors())
}

/// Loads a file of weights: safetensors, or what `torch.save` wrote (with the feature `pth`). Names may be torchvision's, those of its first
/// files, timm's or efficient_densenet_pytorch's, with or without a wrapper's name before them.
///
/// All names and shapes are checked and all tensors read before the first variable changes. Values of another kind of number are converted to
/// the variable's. No code in a file is run.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Weights`] for a file that is damaged, hostile, or of another model.
///
/// # Examples
///
/// ```
/// use densenet::DenseNetConfig;
/// use densenet::tch::{Device, nn::VarStore};
/// use densenet::weights::{Head, LoadConfig, load, save_safetensors};
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
/// let report = load(&vs, &path, &LoadConfig::new().with_head(Head::Keep))?;
/// assert_eq!(report.kept, ["classifier.bias", "classifier.weight"]);
/// # Ok::<(), densenet::Error>(())
/// ```
pub fn load(vs: &VarStore, path: impl AsRef<Path>, config: &LoadConfig) -> Result<LoadReport> {
    let path = path.as_ref();
    let failed = |problem| Error::Weights { path: path.to_owned(), problem };
    if let Names::Partial { least_percent: percent @ (0 | 101..) } = config.names {
        let (field, value, expected) = ("the least share of variables", format!("{percent} %"), "1 to 100 %");
        return Err(Error::InvalidConfig { field, value, expected });
    }
    let mut file = source::open(path)?;
    let infos: BTreeMap<String, TensorInfo> =
        file.tensors().into_iter().map(|info| (info.name.clone(), info)).collect();
    let variables: BTreeMap<String, Tensor> =
        named_variables(vs).into_iter().map(|Variable { name, tensor, .. }| (name, tensor)).collect();
    let names: Vec<String> = infos.keys().cloned().collect();
    let wanted = variables.keys().cloned().collect();
    let prefix = match &config.part {
        Part::Found => wrapper(&names, &wanted).map_err(|parts| failed(WeightsProblem::Ambiguous { parts }))?,
        Part::Behind(prefix) => prefix,
    };
    let mut found = matched(&names, prefix, &wanted);
    if let Some([first, second, variable]) = found.twice {
        return Err(failed(WeightsProblem::Twice { first, second, variable }));
    }
    let mut report = report(&mut found, &variables, config).map_err(failed)?;
    // All shapes before any tensor is read.
    let plans = found.tensors.iter().map(|(variable, tensor)| {
        let conversion = Conversion::of(&infos[tensor], variable, &variables[variable], config.stem)?;
        Ok((variable, tensor, conversion))
    });
    let plans: Vec<_> = plans.collect::<Result<_, WeightsProblem>>().map_err(failed)?;
    let mut pairs = Vec::with_capacity(plans.len());
    for (variable, tensor, conversion) in plans {
        let own = &variables[variable];
        let new = file.read(tensor).and_then(|new| is_of_weights(tensor, new)).map_err(failed)?;
        let new = conversion.apply(new);
        let converted = conversion.describe(new.kind(), own.kind());
        // What can fail for want of memory comes before the first copy.
        let new = new.f_to_device(own.device()).and_then(|new| new.f_to_kind(own.kind()));
        let new = new.map_err(|error| Error::Libtorch { what: "conversion of weights", message: error.to_string() })?;
        pairs.push((own.shallow_clone(), new));
        report.used.push(Used { variable: variable.clone(), tensor: tensor.clone(), converted });
    }
    no_grad(|| pairs.into_iter().for_each(|(mut own, new)| own.copy_(&new)));
    Ok(report)
}

/// Sets aside what is not to be loaded, or says what is wrong with names.
fn report(
    found: &mut Matched,
    variables: &BTreeMap<String, Tensor>,
    config: &LoadConfig,
) -> Result<LoadReport, WeightsProblem> {
    let is_head = |name: &str| name.starts_with("classifier.");
    let mut report = LoadReport { ignored: found.ignored.clone(), ..Default::default() };
    if config.head == Head::Keep {
        report.kept = variables.keys().filter(|name| is_head(name)).cloned().collect();
        report.ignored.extend(report.kept.iter().filter_map(|name| found.tensors.remove(name)));
    }
    let wanted = variables.len() - report.kept.len();
    let without = variables.keys().filter(|name| !found.tensors.contains_key(*name) && !report.kept.contains(name));
    report.missing = without.cloned().collect();
    report.unexpected = found.unexpected.clone();
    match config.names {
        Names::Exact if !report.unexpected.is_empty() => {
            return Err(WeightsProblem::Unexpected { tensors: report.unexpected });
        }
        Names::Exact if !report.missing.is_empty() => return Err(WeightsProblem::Missing { tensors: report.missing }),
        Names::Partial { least_percent: percent } if found.tensors.len() * 100 < wanted * percent as usize => {
            return Err(WeightsProblem::Coverage { used: found.tensors.len(), variables: wanted, percent });
        }
        _ => {}
    }
    Ok(report)
}

fn is_of_weights(name: &str, tensor: Tensor) -> Result<Tensor, WeightsProblem> {
    match tensor.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => Ok(tensor),
        kind => {
            let problem = format!("its numbers are {kind:?}, which is no kind of weights");
            Err(WeightsProblem::Tensor { tensor: name.to_owned(), problem })
        }
    }
}

/// What is done with a tensor before it is copied.
enum Conversion {
    None,
    SumChannels,
}

impl Conversion {
    fn of(info: &TensorInfo, name: &str, variable: &Tensor, stem: StemChannels) -> Result<Self, WeightsProblem> {
        let wanted = variable.size();
        if info.shape == wanted {
            return Ok(Conversion::None);
        }
        let is_stem = name == "features.conv0.weight";
        let summed = match info.shape[..] {
            [out, 3, h, w] if is_stem && stem == StemChannels::Sum => wanted == [out, 1, h, w],
            _ => false,
        };
        match summed {
            true => Ok(Conversion::SumChannels),
            false => Err(WeightsProblem::Shape { tensor: info.name.clone(), found: info.shape.clone(), wanted }),
        }
    }

    fn apply(&self, tensor: Tensor) -> Tensor {
        match self {
            Conversion::None => tensor,
            Conversion::SumChannels => tensor.sum_dim_intlist([1].as_slice(), true, None::<Kind>),
        }
    }

    fn describe(&self, found: Kind, wanted: Kind) -> Option<String> {
        let kinds = (found != wanted).then(|| format!("{found:?} to {wanted:?}"));
        match self {
            Conversion::None => kinds,
            Conversion::SumChannels => {
                Some(["3 channels summed".to_owned()].into_iter().chain(kinds).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
