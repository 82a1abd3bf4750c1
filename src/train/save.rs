//! Callbacks that save weights during a run.

use super::monitor::Best;
use super::{Callback, Event, Monitor, Run};
use crate::weights::save_with_metadata;
use crate::{Result, files};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Saves the weights to one file: after every epoch and at the end of the run, or only where an epoch is the best so
/// far.
///
/// # Examples
///
/// Training with the best weights by validation accuracy, which the model has at the end:
///
/// ```no_run
/// use densenet::train::{Datasets, EarlyStop, Monitor, SaveWeights};
/// use densenet::weights::{LoadConfig, load};
/// use densenet::{DenseNet, Result, Trainer};
///
/// fn train(trainer: Trainer<DenseNet>, datasets: &Datasets) -> Result<Trainer<DenseNet>> {
///     let mut trainer = trainer
///         .with_callback(SaveWeights::best_to("best.safetensors", Monitor::accuracy()))
///         .with_callback(EarlyStop::after(5).with_monitor(Monitor::accuracy()));
///     trainer.fit(datasets)?;
///     load(trainer.var_store(), "best.safetensors", &LoadConfig::new())?;
///     Ok(trainer)
/// }
/// ```
#[derive(Debug)]
pub struct SaveWeights {
    path: PathBuf,
    /// Further entries of the file's metadata.
    metadata: BTreeMap<String, String>,
    /// Decides which epochs are saved; `None` for all.
    best: Option<Best>,
}

impl SaveWeights {
    /// Saves to this safetensors file after every epoch and at the end of the run.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        SaveWeights { path: path.into(), metadata: BTreeMap::new(), best: None }
    }

    /// Saves to this safetensors file after each epoch that is the best so far by a metric of the validation set.
    ///
    /// Without a validation set, or with a [`Monitor`] of a metric that the run does not have, the run ends with an
    /// error before its first step.
    pub fn best_to(path: impl Into<PathBuf>, monitor: Monitor) -> Self {
        SaveWeights { path: path.into(), metadata: BTreeMap::new(), best: Some(Best::by(monitor)) }
    }

    /// Adds an entry to the metadata of the file. That of [`Bundle::metadata`](crate::weights::Bundle::metadata) makes
    /// it a model bundle, which a [`Predictor`](crate::predict::Predictor::open) opens.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::train::SaveWeights;
    /// use densenet::weights::Bundle;
    /// use densenet::DenseNetConfig;
    ///
    /// let bundle = Bundle::new(DenseNetConfig::fashion_mnist()).with_image_size([96, 96]);
    /// let (key, value) = bundle.metadata()?;
    /// let save = SaveWeights::to("model.safetensors").with_metadata(key, value);
    /// # let _ = save;
    /// # Ok::<(), densenet::Error>(())
    /// ```
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    fn save(&self, run: &Run) -> Result<()> {
        save_with_metadata(run.vs, &self.path, self.metadata.clone())
    }
}

impl Callback for SaveWeights {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match (event, &mut self.best) {
            (Event::FitStarted, best) => {
                if let Some(best) = best {
                    best.check(run, "saving the best weights")?;
                }
                files::check_writable(&self.path)?;
            }
            (Event::EpochEnded { record, .. }, Some(best)) => {
                let is_best = best.update(record)?;
                if is_best {
                    self.save(run)?;
                }
            }
            (Event::EpochEnded { .. } | Event::FitEnded { .. }, None) => self.save(run)?,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn settings(&self) -> Value {
        self.best.as_ref().map_or(Value::Null, Best::settings)
    }

    fn state(&self) -> Option<Value> {
        self.best.as_ref().map(Best::state)
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        self.best.as_mut().map_or(Ok(()), |best| best.load_state(state))
    }
}
