//! The choice of the instruction set of the kernels.

use std::sync::OnceLock;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The instructions that every CPU of the architecture has.
    Portable,
    /// AVX2 with 256-bit registers.
    Avx2,
    /// AVX-512 with 512-bit registers.
    Avx512,
}

/// The best level that this CPU has, or the one that the environment variable `DENSENET_SIMD` allows: `portable`,
/// `avx2` or `avx512`. It is determined once.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let allowed = match std::env::var("DENSENET_SIMD").as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        available().min(allowed)
    })
}

fn available() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if has_avx512 {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Compiles a kernel once for each instruction set, and calls the one of [`level`].
///
/// The body is the reference. All variants do the same operations on each element in the same order, and
/// multiplications are not fused with additions, so that they give the same bits. Elements have a type `T`; those of a
/// second type, such as `<O>`, are computed in the same wide type.
macro_rules! kernel {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident $(<$O:ident>)? ($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        $visibility fn $name<T: $crate::kernels::Element $(, $O: $crate::kernels::Element<Wide = T::Wide>)?>($($argument: $type),*) {
            #[inline(always)]
            fn portable<T: $crate::kernels::Element $(, $O: $crate::kernels::Element<Wide = T::Wide>)?>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<T: $crate::kernels::Element $(, $O: $crate::kernels::Element<Wide = T::Wide>)?>($($argument: $type),*) {
                portable($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2<T: $crate::kernels::Element $(, $O: $crate::kernels::Element<Wide = T::Wide>)?>($($argument: $type),*) {
                portable($($argument),*)
            }

            match $crate::kernels::level() {
                // SAFETY: `level` has detected these instructions on this CPU.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Avx2 => unsafe { avx2($($argument),*) },
                _ => portable($($argument),*),
            }
        }
    };
}
