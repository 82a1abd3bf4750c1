//! The content of an IDX file.

use ndarray::ArrayD;

/// An array of one of the six element types of IDX.
#[derive(Clone, Debug, PartialEq)]
pub enum IdxArray {
    /// Type byte 08.
    U8(ArrayD<u8>),
    /// Type byte 09.
    I8(ArrayD<i8>),
    /// Type byte 0b.
    I16(ArrayD<i16>),
    /// Type byte 0c.
    I32(ArrayD<i32>),
    /// Type byte 0d.
    F32(ArrayD<f32>),
    /// Type byte 0e.
    F64(ArrayD<f64>),
}

impl IdxArray {
    /// The sizes of the dimensions, of which there is at least one.
    pub fn shape(&self) -> &[usize] {
        match self {
            IdxArray::U8(array) => array.shape(),
            IdxArray::I8(array) => array.shape(),
            IdxArray::I16(array) => array.shape(),
            IdxArray::I32(array) => array.shape(),
            IdxArray::F32(array) => array.shape(),
            IdxArray::F64(array) => array.shape(),
        }
    }

    /// The element type by its Rust name.
    pub fn kind(&self) -> &'static str {
        match self {
            IdxArray::U8(_) => "u8",
            IdxArray::I8(_) => "i8",
            IdxArray::I16(_) => "i16",
            IdxArray::I32(_) => "i32",
            IdxArray::F32(_) => "f32",
            IdxArray::F64(_) => "f64",
        }
    }
}
