//! The variables of a `VarStore` in a fixed order.

use std::collections::HashSet;
use tch::{Tensor, nn::VarStore};

/// A named tensor of a [`VarStore`]: a parameter or a buffer.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The variable's full name, such as `features.conv0.weight`.
    pub name: String,
    /// The tensor, which shares its memory with the model.
    pub tensor: Tensor,
    /// Whether it is trained; buffers, such as running statistics, are not.
    pub trainable: bool,
}

/// Returns all variables sorted by name. A `VarStore` itself is a hash map, whose order changes from run to run.
pub(crate) fn named_variables(vs: &VarStore) -> Vec<Variable> {
    let mut variables: Vec<Variable> = vs
        .variables()
        .into_iter()
        .map(|(name, tensor)| Variable { name, trainable: tensor.requires_grad(), tensor })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

/// Returns the parameters, frozen ones included, sorted by name. Buffers, such as running statistics, are none.
pub(crate) fn parameters(vs: &VarStore) -> Vec<Variable> {
    // tch keeps a list of the parameters, without names, whose tensors share their memory with the named ones.
    let registered: HashSet<_> = vs.trainable_variables().iter().map(Tensor::data_ptr).collect();
    let is_registered = |tensor: &Tensor| tensor.numel() > 0 && registered.contains(&tensor.data_ptr());
    let is_parameter = |variable: &Variable| variable.trainable || is_registered(&variable.tensor);
    named_variables(vs).into_iter().filter(is_parameter).collect()
}

/// Whether a variable's name begins with these components: `features.denseblock1` is a prefix of
/// `features.denseblock1.denselayer1.conv1.weight`, and not of `features.denseblock10.denselayer1.conv1.weight`.
pub(crate) fn has_prefix(name: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('.').unwrap_or(prefix);
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
