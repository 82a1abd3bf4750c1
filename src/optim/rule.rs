//! Functions of a configuration that read a parameter's name and shape.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The name and the shape of a parameter, from which a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParameterInfo {
    /// The variable's full name, such as `features.denseblock1.denselayer1.norm1.weight`.
    pub name: String,
    /// Sizes of the dimensions; empty for a scalar.
    pub shape: Vec<i64>,
}

type Function<T> = dyn Fn(&ParameterInfo) -> T + Send + Sync;

/// A function with a name, by which it is saved, printed and compared.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Rule<T> {
    name: String,
    #[serde(skip)]
    function: Option<Arc<Function<T>>>,
}

impl<T> Rule<T> {
    pub fn new(name: impl Into<String>, function: impl Fn(&ParameterInfo) -> T + Send + Sync + 'static) -> Self {
        Rule { name: name.into(), function: Some(Arc::new(function)) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls the function; an error where the rule was read from JSON, which holds its name only.
    pub fn call(&self, parameter: &ParameterInfo) -> Result<T> {
        let expected = "a function of this program, and not read from JSON, which holds its name only";
        let function = self.function.as_ref();
        Ok(function.ok_or_else(|| Error::invalid_value("a rule for parameters", &self.name, expected))?(parameter))
    }
}

impl<T> Clone for Rule<T> {
    fn clone(&self) -> Self {
        Rule { name: self.name.clone(), function: self.function.clone() }
    }
}

impl<T> PartialEq for Rule<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<T> fmt::Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}
