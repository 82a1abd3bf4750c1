//! The learning rate and the weight decay of each parameter.

use super::group::ParameterGroup;
use super::layer_decay::LayerDecay;
use super::rule::ParameterInfo;
use crate::error::ConfigError;
use crate::torch::{Rate, parameters};
use crate::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use tch::nn::VarStore;

/// One row of a [`ParameterTable`]: a parameter, and what an optimizer does to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParameterRow {
    /// The variable's full name, such as `classifier.weight`.
    pub name: String,
    /// Sizes of the dimensions; empty for a scalar.
    pub shape: Vec<i64>,
    /// Learning rate before the schedule's factor.
    pub learning_rate: f64,
    /// Weight decay of the parameter.
    pub weight_decay: f64,
}

/// The learning rate and the weight decay of each parameter of a model, frozen ones included. `Display` prints one line
/// for those that have the same values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParameterTable {
    /// All parameters, sorted by name.
    pub rows: Vec<ParameterRow>,
}

/// Applies groups and layer decay to the parameters of a model.
pub(super) fn table(
    vs: &VarStore,
    base: Rate,
    groups: &[ParameterGroup],
    layer_decay: Option<&LayerDecay>,
) -> Result<ParameterTable> {
    groups.iter().try_for_each(ParameterGroup::check)?;
    let infos: Vec<_> =
        parameters(vs).into_iter().map(|own| ParameterInfo { shape: own.tensor.size(), name: own.name }).collect();
    let mut rates = vec![base; infos.len()];
    for group in groups {
        let mut is_empty = true;
        for (rate, info) in rates.iter_mut().zip(&infos) {
            if group.selects(info)? {
                is_empty = false;
                rate.learning_rate = group.learning_rate().unwrap_or(rate.learning_rate);
                rate.weight_decay = group.weight_decay().unwrap_or(rate.weight_decay);
            }
        }
        if is_empty {
            let known = infos.iter().map(|info| info.name.as_str());
            return Err(ConfigError::nothing_selected(group.description(), known));
        }
    }
    if let Some(layer_decay) = layer_decay {
        for (rate, factor) in rates.iter_mut().zip(layer_decay.factors(&infos)?) {
            rate.learning_rate *= factor;
            if rate.learning_rate == 0.0 {
                return Err(Error::invalid_value(
                    "layer decay",
                    "too small",
                    "large enough to leave each stage a rate",
                ));
            }
        }
    }
    let rows = infos.into_iter().zip(rates).map(|(info, rate)| ParameterRow {
        name: info.name,
        shape: info.shape,
        learning_rate: rate.learning_rate,
        weight_decay: rate.weight_decay,
    });
    Ok(ParameterTable { rows: rows.collect() })
}

impl ParameterTable {
    /// Returns the rows with equal learning rate and weight decay together, the largest rates first.
    fn by_rate(&self) -> Vec<Vec<&ParameterRow>> {
        let mut rows: Vec<&ParameterRow> = self.rows.iter().collect();
        let order = |a: &&ParameterRow, b: &&ParameterRow| {
            let rates = b.learning_rate.total_cmp(&a.learning_rate);
            rates.then(b.weight_decay.total_cmp(&a.weight_decay)).then(a.name.cmp(&b.name))
        };
        rows.sort_by(order);
        let is_equal = |a: &&ParameterRow, b: &&ParameterRow| {
            (a.learning_rate, a.weight_decay) == (b.learning_rate, b.weight_decay)
        };
        rows.chunk_by(is_equal).map(<[_]>::to_vec).collect()
    }

    /// Returns the identity of the table for a resumed run: the names as a digest, since an error prints all of it.
    pub(super) fn identity(&self) -> Value {
        let groups = self.by_rate().into_iter().map(|rows| {
            let mut names = Sha256::new();
            rows.iter().for_each(|row| names.update(format!("{}\n", row.name)));
            let digest = hex::encode(&names.finalize()[..8]);
            let ParameterRow { learning_rate, weight_decay, .. } = rows[0];
            json!({
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "parameters": rows.len(),
                "digest_of_names": digest,
            })
        });
        Value::Array(groups.collect())
    }
}

impl fmt::Display for ParameterTable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut line = |cells: [&str; 5]| {
            let [rate, decay, tensors, elements, names] = cells;
            writeln!(f, "{rate:>13}  {decay:>12}  {tensors:>7}  {elements:>11}  {names}")
        };
        line(["learning rate", "weight decay", "tensors", "parameters", "names"])?;
        for rows in self.by_rate() {
            let elements: i64 = rows.iter().map(|row| row.shape.iter().product::<i64>()).sum();
            let ParameterRow { learning_rate, weight_decay, .. } = rows[0];
            let names = match &rows[..] {
                [only] => only.name.clone(),
                [first, .., last] => format!("{} to {}", first.name, last.name),
                [] => String::new(),
            };
            let (rate, decay) = (format!("{learning_rate:.4e}"), format!("{weight_decay:e}"));
            line([&rate, &decay, &rows.len().to_string(), &elements.to_string(), &names])?;
        }
        Ok(())
    }
}
