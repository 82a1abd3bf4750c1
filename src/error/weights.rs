//! Errors in files of weights.

use std::fmt::{self, Display, Write};

/// Why weights cannot be loaded. The model is then unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// The file has no known format.
    #[error("it is neither safetensors nor a file of torch.save{}", looks_like.map(but).unwrap_or_default())]
    Format {
        /// What the file is by its first bytes, in words; `None` where they say nothing.
        looks_like: Option<&'static str>,
    },
    /// The file has a known format but is truncated or damaged.
    #[error("it is damaged: {}", escaped(.0))]
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
    /// A pickle has no tensors, but an object of a function or type other than those of tensors and plain values.
    /// Nothing was called.
    #[error("it names {}, which is not on the list of allowed functions and types: save a state_dict", escaped(.0))]
    NotAllowed(String),
    /// A tensor of the file cannot be read.
    #[error("{}: {}", escaped(tensor), escaped(problem))]
    Tensor {
        /// The tensor's name in the file.
        tensor: String,
        /// The problem with it, in words.
        problem: String,
    },
    /// Two tensors of the file belong to the same variable.
    #[error("{} and {} are both {variable}", escaped(first), escaped(second))]
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
    #[error("{} has shape {found:?}, but has to have {wanted:?}", escaped(tensor))]
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
    /// The file has weights without the metadata of a model bundle.
    #[error(
        "it holds plain weights and no model bundle: build the network, load them with weights::load, and save both \
         with Bundle::save"
    )]
    NoBundle,
    /// The file is a model bundle of a newer version of this crate.
    #[error("it is a model bundle of format version {found}, and this version of densenet reads version {known}")]
    BundleVersion {
        /// The version in the file.
        found: u64,
        /// The version that is read.
        known: u64,
    },
    /// The metadata of a model bundle is damaged or describes no network that can be built.
    #[error("its metadata as a model bundle cannot be used: {}", escaped(.0))]
    BundleMetadata(String),
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

/// The end of a message that says what a file looks like.
fn but(looks_like: &str) -> String {
    format!(": it looks like {looks_like}")
}

/// Lists the first few names, escaped, and how many more there are.
pub(crate) fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names[..names.len() - more].iter().map(|name| escaped(name).to_string()).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Formats a name or another text of a file for a terminal: characters that control it or are invisible are escaped, as
/// in `\u{1b}`.
pub(crate) fn escaped(text: &str) -> impl Display {
    struct Escaped<'a>(&'a str);
    impl Display for Escaped<'_> {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            self.0.chars().try_for_each(|c| match c {
                // Escaped in source code only.
                '"' | '\'' | '\\' => f.write_char(c),
                _ => write!(f, "{}", c.escape_debug()),
            })
        }
    }
    Escaped(text)
}
