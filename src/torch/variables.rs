//! The variables of a `VarStore` in a fixed order.

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
