//! The check of a tensor that a part of a network receives.

use crate::error::InputError;
use crate::torch::{Access, device_name, is_autocast, is_tracing};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Checks that a part with variables like `variable` can compute with `x`: both have the same floating dtype, or one that
/// autocast converts, and lie on the same device; and `x` is an ordinary dense tensor.
///
/// # Errors
///
/// [`InputError::IncompatibleTensor`], and [`InputError::TracedVariables`] for variables that libtorch does not trace.
pub(crate) fn check_tensor(x: &Tensor, variable: &Tensor) -> Result<()> {
    if is_tracing() && variable.requires_grad() {
        return Err(Error::Input(InputError::TracedVariables));
    }
    let describe = |tensor: &Tensor| format!("{:?} on {}", tensor.kind(), device_name(tensor.device()));
    if !x.defined() {
        let (actual, expected) = ("no dtype, undefined".to_owned(), describe(variable));
        return Err(Error::Input(InputError::IncompatibleTensor { actual, expected }));
    }
    let (access, kind, expected) = (Access::to(x), x.kind(), variable.kind());
    let fits = match kind {
        Kind::Double => expected == kind,
        Kind::Float | Kind::BFloat16 | Kind::Half => {
            expected == kind || (expected != Kind::Double && is_autocast(x.device()))
        }
        _ => false,
    };
    if fits && access != Access::Special && x.device() == variable.device() {
        return Ok(());
    }
    let special = if access == Access::Special { " that is sparse, quantized or opaque" } else { "" };
    let (actual, expected) = (describe(x) + special, describe(variable));
    Err(Error::Input(InputError::IncompatibleTensor { actual, expected }))
}
