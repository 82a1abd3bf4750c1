//! The functions and types that a pickle names; pickle calls such names globals.

use tch::Kind;

/// Index of a value in its pickle.
pub(super) type Id = usize;

/// A function or type that a pickle names. None is ever called: those on the list stand for what they would return.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    /// A tensor in a storage, of the storage's dtype.
    RebuildTensor,
    /// A tensor in a storage of bytes, whose dtype is an argument.
    RebuildTypedTensor,
    /// A parameter, which wraps a tensor.
    RebuildParameter,
    /// A tensor of another class or with attributes, of which only the tensor is read.
    RebuildFromType,
    Storage(Kind),
    Dtype(Kind),
    /// Another function or type, by the texts that name it.
    Other {
        module: Id,
        name: Id,
    },
}

impl Global {
    /// Looks a name up in the list of those that weights need; `None` for another name.
    pub fn listed(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            // The second one has more arguments.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTypedTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter") => Global::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => Global::RebuildFromType,
            ("torch.storage", "UntypedStorage") => Global::Storage(Kind::Uint8),
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(dtype) => Global::Storage(storage_dtype(dtype)?),
                None => Global::Dtype(untyped_dtype(name)?),
            },
            _ => return None,
        })
    }

    /// Whether this function of PyTorch, which is not on the list, would return a tensor.
    pub fn makes_tensor(module: &str, name: &str) -> bool {
        module.split('.').next() == Some("torch") && (name.starts_with("_rebuild_") || name.ends_with("Tensor"))
    }
}

/// Returns the dtype of a class of storages, such as `FloatStorage`, by the first part of its name.
fn storage_dtype(name: &str) -> Option<Kind> {
    Some(match name {
        "Float" => Kind::Float,
        "Double" => Kind::Double,
        "Half" => Kind::Half,
        "BFloat16" => Kind::BFloat16,
        "Long" => Kind::Int64,
        "Int" => Kind::Int,
        "Short" => Kind::Int16,
        "Char" => Kind::Int8,
        "Byte" => Kind::Uint8,
        "Bool" => Kind::Bool,
        "ComplexFloat" => Kind::ComplexFloat,
        "ComplexDouble" => Kind::ComplexDouble,
        "QInt8" => Kind::QInt8,
        "QUInt8" => Kind::QUInt8,
        "QInt32" => Kind::QInt32,
        _ => return None,
    })
}

/// Returns the dtype of this name among those that have no class of storages.
fn untyped_dtype(name: &str) -> Option<Kind> {
    Some(match name {
        "float8_e5m2" => Kind::Float8e5m2,
        "float8_e4m3fn" => Kind::Float8e4m3fn,
        "float8_e5m2fnuz" => Kind::Float8e5m2fnuz,
        "float8_e4m3fnuz" => Kind::Float8e4m3fnuz,
        "complex32" => Kind::ComplexHalf,
        _ => return None,
    })
}
