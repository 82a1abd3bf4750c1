//! The element types that kernels work on.

use half::bf16;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Mul, Sub};

/// An element type in memory.
pub trait Element: Copy + Debug + Default + Send + Sync + 'static {
    /// The type of computations: the same, or a wider one where this one is only for storage.
    type Wide: Real;

    /// Converts to the wide type, which is exact.
    fn widen(self) -> Self::Wide;

    /// Rounds to the nearest value; of two equally near ones, to the one whose last bit is 0.
    fn narrow(wide: Self::Wide) -> Self;
}

/// An element type that kernels compute in.
pub trait Real:
    Element<Wide = Self> + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + AddAssign
{
    /// Rounds to the nearest value.
    fn from_f64(value: f64) -> Self;

    /// Converts to f64, which is exact.
    fn to_f64(self) -> f64;

    /// Computes max(z, 0), but NaN stays NaN: a plain maximum would turn it into 0 and hide it.
    #[inline(always)]
    fn relu(self) -> Self {
        if self < Self::default() { Self::default() } else { self }
    }

    /// Returns the gradient behind a ReLU whose input was `self`.
    #[inline(always)]
    fn gate(self, gradient: Self) -> Self {
        if self <= Self::default() { Self::default() } else { gradient }
    }
}

macro_rules! real {
    ($($T:ty),*) => {
        $(
            impl Element for $T {
                type Wide = $T;

                #[inline(always)]
                fn widen(self) -> $T {
                    self
                }

                #[inline(always)]
                fn narrow(wide: $T) -> $T {
                    wide
                }
            }

            impl Real for $T {
                #[inline(always)]
                fn from_f64(value: f64) -> $T {
                    value as $T
                }

                #[inline(always)]
                fn to_f64(self) -> f64 {
                    self.into()
                }
            }
        )*
    };
}
real!(f32, f64);

/// Converts by bits: the conversions of the crate `half` detect instructions at every call, which prevents
/// vectorization.
impl Element for bf16 {
    type Wide = f32;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(wide: f32) -> bf16 {
        let bits = wide.to_bits();
        // Wrapping, because a check for overflow, which only a NaN causes, would prevent vectorization.
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
        // Rounding could turn a NaN into an infinity, so one bit of its mantissa is set.
        let rounded = if wide.is_nan() { bits | 1 << 22 } else { rounded };
        bf16::from_bits((rounded >> 16) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_as_its_crate_rounds_it() {
        // Every number between two neighbors, in steps that hit the middle and what is beside it.
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                let wide = f32::from_bits(u32::from(high) << 16 | low);
                let (own, reference) = (bf16::narrow(wide), bf16::from_f32(wide));
                let same = own.to_bits() == reference.to_bits();
                assert!(same || wide.is_nan() && own.is_nan(), "{wide:e}: {own} and {reference}");
            }
            let narrow = bf16::from_bits(high);
            assert!(narrow.is_nan() && narrow.widen().is_nan() || narrow.widen() == narrow.to_f32());
        }
    }
}
