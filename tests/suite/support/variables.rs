//! The variables of a `VarStore` in a fixed order.

use densenet::tch::{Tensor, nn::VarStore};

/// A parameter or a buffer. The tensor shares its memory with the model's own.
pub struct Variable {
    pub name: String,
    pub tensor: Tensor,
    /// Whether it has a gradient; buffers, such as running statistics, have none.
    pub trainable: bool,
}

/// All variables sorted by name. A `VarStore` itself is a hash map, whose order changes from run to run.
pub fn named_variables(vs: &VarStore) -> Vec<Variable> {
    let variable = |(name, tensor): (String, Tensor)| Variable { name, trainable: tensor.requires_grad(), tensor };
    let mut variables: Vec<_> = vs.variables().into_iter().map(variable).collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

/// Every variable's name and exact bits, running statistics too.
pub fn bits(vs: &VarStore) -> Vec<(String, Vec<u32>)> {
    let bits = |tensor: &Tensor| {
        let values = Vec::<f32>::try_from(tensor.detach().contiguous().view(-1)).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    named_variables(vs).iter().map(|variable| (variable.name.clone(), bits(&variable.tensor))).collect()
}
