//! What can be wrong with a file of weights.

/// Why weights do not load; nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// The file is of no format that is read.
    #[error("it is neither safetensors nor a file of torch.save")]
    Format,
    /// The file is of a known format, but cut off or damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A number in the file is larger than what is read.
    #[error("{what} would be {value}, and at most {limit} is read")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The number.
        value: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A pickle asks for something that is no tensor and no plain value. It was not called, and nothing else was.
    #[error("it asks for {0}, which is not on the list of what is read: save a state_dict")]
    NotAllowed(String),
    /// A tensor of the file cannot be read.
    #[error("{tensor}: {problem}")]
    Tensor {
        /// Its name in the file.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two tensors of the file are the same variable's.
    #[error("{first} and {second} are both {variable}")]
    Twice {
        /// A tensor of the file.
        first: String,
        /// Another one.
        second: String,
        /// The variable's name.
        variable: String,
    },
    /// Two parts of the file have as many of the model's variables.
    #[error("its parts {:?} and {:?} have as many variables of the model: say which one is meant", parts[0], parts[1])]
    Ambiguous {
        /// What stands before their names.
        parts: [String; 2],
    },
    /// A tensor has another shape than its variable.
    #[error("{tensor} has shape {found:?}, but has to have {wanted:?}")]
    Shape {
        /// Its name in the file.
        tensor: String,
        /// Its shape in the file.
        found: Vec<i64>,
        /// The variable's.
        wanted: Vec<i64>,
    },
    /// Variables of which the file has no tensor.
    #[error("{} missing: {}", tensors.len(), some(tensors))]
    Missing {
        /// The variables.
        tensors: Vec<String>,
    },
    /// Tensors of which the model has no variable.
    #[error("the model has no {}", some(tensors))]
    Unexpected {
        /// Their names in the file.
        tensors: Vec<String>,
    },
    /// Fewer variables were found than what was asked for at least.
    #[error("only {used} of {variables} variables are in it, and at least {percent} % were asked for")]
    Coverage {
        /// Variables that the file has.
        used: usize,
        /// The model's.
        variables: usize,
        /// The least share that was asked for.
        percent: u32,
    },
}

/// The first few names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
