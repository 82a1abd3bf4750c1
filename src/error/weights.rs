//! Errors in files of weights.

/// Why weights cannot be loaded. The model is then unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// The file has no known format.
    #[error("it is neither safetensors nor a file of torch.save")]
    Format,
    /// The file has a known format but is truncated or damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A number in the file is larger than the limit for it.
    #[error("{what} would be {value}, and at most {limit} is read")]
    TooLarge {
        /// The number that is too large, in words.
        what: &'static str,
        /// The number in the file.
        value: u64,
        /// The largest number that is accepted.
        limit: u64,
    },
    /// A pickle names a function or type other than those of tensors and plain values. Nothing was called.
    #[error("it names {0}, which is not on the list of allowed functions and types: save a state_dict")]
    NotAllowed(String),
    /// A tensor of the file cannot be read.
    #[error("{tensor}: {problem}")]
    Tensor {
        /// The tensor's name in the file.
        tensor: String,
        /// The problem with it, in words.
        problem: String,
    },
    /// Two tensors of the file belong to the same variable.
    #[error("{first} and {second} are both {variable}")]
    Twice {
        /// The name of the first tensor.
        first: String,
        /// The name of the second tensor.
        second: String,
        /// The name of the variable.
        variable: String,
    },
    /// Two prefixes in the file match equally many of the model's variables.
    #[error("its parts {:?} and {:?} have as many variables of the model: say which one is meant", parts[0], parts[1])]
    Ambiguous {
        /// The two prefixes of the tensors' names.
        parts: [String; 2],
    },
    /// A tensor does not have the shape of its variable.
    #[error("{tensor} has shape {found:?}, but has to have {wanted:?}")]
    Shape {
        /// The tensor's name in the file.
        tensor: String,
        /// The tensor's shape in the file.
        found: Vec<i64>,
        /// The shape of the variable.
        wanted: Vec<i64>,
    },
    /// The file has no tensors for some variables.
    #[error("{} missing: {}", tensors.len(), some(tensors))]
    Missing {
        /// The names of those variables.
        tensors: Vec<String>,
    },
    /// The file has tensors for which the model has no variables.
    #[error("the model has no {}", some(tensors))]
    Unexpected {
        /// The tensors' names in the file.
        tensors: Vec<String>,
    },
    /// The file has fewer of the model's variables than required.
    #[error("only {used} of {variables} variables are in it, and at least {percent} % are required")]
    Coverage {
        /// The number of variables that the file has.
        used: usize,
        /// The model's number of variables.
        variables: usize,
        /// The required share of variables in percent.
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
