//! The numbers that kernels work on.

use half::bf16;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Mul, Sub};

/// A dtype of elements in memory.
pub trait Element: Copy + Debug + Default + Send + Sync + 'static {
    /// The dtype that is computed with: the same, or a wider one where this one is only for
    /// storage.
    type Wide: Real;

    /// The same value.
    fn widen(self) -> Self::Wide;

    /// The nearest value; of two that are as near, the one whose last bit is 0.
    fn narrow(wide: Self::Wide) -> Self;
}

/// A dtype of elements that is computed with.
pub trait Real:
    Element<Wide = Self> + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + AddAssign
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

/// By its bits: the crate's own conversions look for instructions each time, which the compiler
/// cannot vectorize.
impl Element for bf16 {
    type Wide = f32;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(wide: f32) -> bf16 {
        let bits = wide.to_bits();
        // Wrapping, so that no check for an overflow, which only a NaN has, is in the way of
        // vectors.
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
        // Rounding could carry a NaN's bits away until it is infinite, so it gets one that stays.
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
