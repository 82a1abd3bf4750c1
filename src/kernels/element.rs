//! The numbers that kernels work on.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Mul, Sub};

/// A kind of element and the arithmetic on it.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + 'static
{
    /// The nearest value.
    fn from_f64(value: f64) -> Self;

    /// The same value.
    fn to_f64(self) -> f64;

    /// max(z, 0), but NaN stays NaN: a plain maximum would turn it into 0 and hide it.
    #[inline(always)]
    fn relu(self) -> Self {
        if self < Self::default() { Self::default() } else { self }
    }

    /// The gradient that passes a ReLU whose input was `self`.
    #[inline(always)]
    fn gate(self, gradient: Self) -> Self {
        if self <= Self::default() { Self::default() } else { gradient }
    }
}

impl Element for f32 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Element for f64 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}
