//! Freezes and unfreezes parts of a network.

use crate::error::ConfigError;
use crate::torch::{has_prefix, parameters};
use crate::{Error, Result};
use tch::nn::VarStore;

/// Freezes the parameters whose names begin with `prefix`, so that training does not change them, and returns their
/// number.
///
/// The prefix consists of whole components of the name: `features.denseblock1` does not freeze `features.denseblock10`.
/// It may be called before or after an optimizer is built. A frozen parameter has no gradient, and it costs no memory
/// of an optimizer until it is trained; what an optimizer has saved for it before stays.
///
/// Running statistics are no parameters: in training, batch norms of a frozen part normalize by the statistics of the
/// batch and update the running ones, as in PyTorch. With [`Mode::TrainFrozenNorms`](super::Mode) in
/// [`TrainConfig::with_mode`](crate::TrainConfig::with_mode) all norms of the network use the running statistics that
/// were loaded and leave them as they are, which is usual where most of the network is frozen.
///
/// A resumed run has to freeze the same parameters as the run that was saved.
///
/// # Errors
///
/// [`ConfigError::NothingSelected`] where no parameter has this prefix.
///
/// # Examples
///
/// Two phases of fine-tuning: the classifier alone, and then everything, the classifier with a larger rate.
///
/// ```
/// use densenet::data::SyntheticConfig;
/// use densenet::nn::{Mode, freeze, unfreeze};
/// use densenet::optim::ParameterGroup;
/// use densenet::{AdamWConfig, Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer};
/// use densenet::{tch::Device, tch::nn::VarStore, train::CheckpointConfig};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let vs = VarStore::new(Device::Cpu);
/// let model = DenseNetConfig::new(3)
///     .with_input_channels(1)
///     .with_initial_channels(8)
///     .with_growth_rate(4)
///     .with_layers_per_block([1, 1])
///     .build(&vs.root())?;                              // weights::load would come here
/// let samples = SyntheticConfig::new(32).with_sample_shape([1, 16, 16]).with_classes(3).build()?;
/// let datasets = Datasets::new(&samples);
///
/// freeze(&vs, "features")?;
/// let optimizer = SgdConfig::new(0.1).build(&vs)?;
/// let frozen_norms = TrainConfig::new(1).with_mode(Mode::TrainFrozenNorms);
/// let mut first = Trainer::new(vs, model, optimizer, frozen_norms)?
///     .with_checkpoints(CheckpointConfig::in_folder(folder.join("classifier")).with_resume());
/// first.fit(&datasets)?;
///
/// let (vs, model, _) = first.into_parts();
/// unfreeze(&vs, "features")?;
/// let optimizer = AdamWConfig::new(1e-4)
///     .with_group(ParameterGroup::prefix("classifier").with_learning_rate(1e-3))
///     .build(&vs)?;
/// let mut second = Trainer::new(vs, model, optimizer, TrainConfig::new(2))?
///     .with_checkpoints(CheckpointConfig::in_folder(folder.join("all")).with_resume());
/// let history = second.fit(&datasets)?;
/// assert_eq!(history.epochs.len(), 2);
/// # Ok::<(), densenet::Error>(())
/// ```
///
/// A program that was ended runs all of this again: the first phase is loaded from its finished checkpoint, and the
/// second resumes in the middle.
pub fn freeze(vs: &VarStore, prefix: &str) -> Result<usize> {
    set_trainable(vs, prefix, false)
}

/// Trains the parameters whose names begin with `prefix` again, and returns their number. The opposite of [`freeze`],
/// whose documentation has an example.
///
/// An optimizer that was built before trains them too, from a state of zeros, or from what it had saved for them.
///
/// # Errors
///
/// [`ConfigError::NothingSelected`] where no parameter has this prefix.
pub fn unfreeze(vs: &VarStore, prefix: &str) -> Result<usize> {
    set_trainable(vs, prefix, true)
}

fn set_trainable(vs: &VarStore, prefix: &str, trainable: bool) -> Result<usize> {
    let all = parameters(vs);
    let selected: Vec<_> = all.iter().filter(|parameter| has_prefix(&parameter.name, prefix)).collect();
    if selected.is_empty() {
        let names = all.iter().map(|parameter| parameter.name.as_str());
        return Err(ConfigError::nothing_selected(format!("the prefix {prefix:?}"), names));
    }
    for parameter in &selected {
        let set = parameter.tensor.f_set_requires_grad(trainable);
        drop(set.map_err(Error::libtorch("freezing of parameters"))?);
    }
    Ok(selected.len())
}
