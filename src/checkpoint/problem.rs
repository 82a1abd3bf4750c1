//! What can be wrong with a checkpoint.

use crate::error::escaped;

/// Why a file is no checkpoint, or a state cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointProblem {
    /// The file has no digest: it is truncated, or is no checkpoint.
    #[error("it has no digest, so that it is cut off or no checkpoint")]
    NoDigest,
    /// The file is damaged: its digest is not the one that was stored in it.
    #[error("it is damaged: its SHA-256 is {actual}, but should be {}", escaped(expected))]
    Digest {
        /// The SHA-256 stored in the file, in hexadecimal.
        expected: String,
        /// The SHA-256 of the file's content, in hexadecimal.
        actual: String,
    },
    /// The file has a format that this version of the crate does not read.
    #[error(
        "it was written in format {found}, and this version of densenet reads format {known}: use the version that wrote it"
    )]
    Format {
        /// The format that the file declares.
        found: String,
        /// The format that can be read.
        known: u64,
    },
    /// A tensor or the file cannot be read or written.
    #[error("{}: {}", escaped(name), escaped(problem))]
    Content {
        /// The name of the tensor, or "the file".
        name: String,
        /// The problem with it, in words.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_checkpoint_do_not_reach_the_terminal() {
        let text = "\u{1b}[2J\u{9b}".to_owned();
        for problem in [
            CheckpointProblem::Content { name: text.clone(), problem: text.clone() },
            CheckpointProblem::Digest { expected: text.clone(), actual: String::new() },
        ] {
            let message = problem.to_string();
            assert!(!message.contains(char::is_control) && message.contains("\\u{1b}[2J"), "{message}");
        }
    }
}
