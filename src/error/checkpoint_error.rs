//! What is wrong with a checkpoint, a saved state, or the folder of a run.

use super::join;
use super::{CheckpointProblem, Difference};
use std::path::PathBuf;

/// What is wrong with a checkpoint, a saved state, or the folder of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A tensor of a saved state does not fit.
    #[error("state tensor {name:?}: {problem}")]
    StateMismatch {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A run's folder that holds a run already.
    #[error("{} holds a run already ({file}): name another folder, or remove it", folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
        /// A file of that run.
        file: &'static str,
    },
    /// A file that is no checkpoint, or a state that cannot become one.
    #[error("checkpoint {}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: CheckpointProblem,
    },
    /// A folder that holds checkpoints, where a new run was to begin.
    #[error("{} holds checkpoints already: resume that run, or name another folder", folder.display())]
    CheckpointsExist {
        /// The folder.
        folder: PathBuf,
    },
    /// A checkpoint of a run with another configuration or other data.
    #[error("the checkpoint is of another run: {}; allow by name what may change", join(differences))]
    ConfigMismatch {
        /// What differs.
        differences: Vec<Difference>,
    },
    /// A run's folder that another run has.
    #[error("{} is in use by {holder}: one run at a time", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// Who has it, such as "process 123".
        holder: String,
    },
}
