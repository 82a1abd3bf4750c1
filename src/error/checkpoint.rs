//! Errors of checkpoints, saved states and the folders of runs.

use super::join;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Errors of checkpoints, saved states and the folders of runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A tensor of a saved state does not fit the model, the optimizer or a metric.
    #[error("state tensor {name:?}: {problem}")]
    StateMismatch {
        /// The name of the tensor.
        name: String,
        /// The problem with it, in words.
        problem: String,
    },
    /// The folder for a new run holds a run already.
    #[error("{} holds a run already ({file}): name another folder, or remove it", folder.display())]
    RunExists {
        /// Path of the folder.
        folder: PathBuf,
        /// A file of that run.
        file: &'static str,
    },
    /// A file is no valid checkpoint, or a state cannot be saved as one.
    #[error("checkpoint {} cannot be used", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// The problem with the checkpoint: damage, another format, or a tensor that cannot be stored.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder for the checkpoints of a new run holds checkpoints already.
    #[error("{} holds checkpoints already: resume that run, or name another folder", folder.display())]
    CheckpointsExist {
        /// Path of the folder.
        folder: PathBuf,
    },
    /// The folder of the run to resume holds results, but no checkpoint.
    #[error(
        "{} holds results of a run ({file}), but no checkpoint to resume from: name another folder, or remove them",
        folder.display()
    )]
    NoCheckpoint {
        /// Path of the folder.
        folder: PathBuf,
        /// A file of the results.
        file: &'static str,
    },
    /// The checkpoint is of a run with another configuration or other data.
    #[error(
        "the checkpoint is of another run: {}; CheckpointConfig::with_allowed_changes allows by name what may differ",
        listed(differences)
    )]
    ConfigMismatch {
        /// The fields in which the runs differ, such as "batch_size", each with its value in the checkpoint and its
        /// value now, as JSON.
        differences: BTreeMap<String, [String; 2]>,
    },
    /// Another run is using the folder.
    #[error("{} is in use by {holder}: one run at a time", folder.display())]
    FolderInUse {
        /// Path of the folder.
        folder: PathBuf,
        /// The process that uses the folder, such as "process 123".
        holder: String,
    },
}

fn listed(differences: &BTreeMap<String, [String; 2]>) -> String {
    join(differences.iter().map(|(field, [saved, now])| format!("{field} was {saved} and is {now}")))
}
