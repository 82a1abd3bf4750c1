//! Tensors as the bytes that safetensors files hold.

use safetensors::tensor::{Dtype, TensorView, View};
use std::borrow::Cow;
use tch::{Device, Kind, Tensor};

/// A tensor's bytes in the order of its shape.
pub(crate) struct TensorBytes {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl TensorBytes {
    pub fn of(tensor: &Tensor) -> Result<Self, String> {
        let dtype = dtype(tensor.kind()).ok_or_else(|| format!("safetensors has no {:?}", tensor.kind()))?;
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(|error| error.to_string())?;
        Ok(TensorBytes { dtype, shape: tensor.size().into_iter().map(|size| size as usize).collect(), bytes })
    }
}

impl View for TensorBytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The tensor that a file holds.
pub(crate) fn from_view(view: &TensorView) -> Result<Tensor, String> {
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    let kind = kind(view.dtype()).ok_or_else(|| format!("its type {:?} is not supported", view.dtype()))?;
    Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|error| error.to_string())
}

const KINDS: [(Kind, Dtype); 5] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
];

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|pair| pair.0 == kind).map(|pair| pair.1)
}

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|pair| pair.1 == dtype).map(|pair| pair.0)
}
