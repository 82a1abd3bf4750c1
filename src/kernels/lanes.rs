//! Loops over the channels of a pixel in blocks that fit into a register or a part of it.
//!
//! The compiler vectorizes a loop of unknown length four registers at a time, and processes the rest, which may be all
//! 32 channels of a growth rate, one by one. It also has to assume that the next channel reads what is written. So the
//! kernels process channels in blocks of a known length, and read everything that a block needs before they write.

use super::{Element, Real};

/// Runs a piece of code for each block of `$channels`, with its first channel and its constant number `$N` of channels.
macro_rules! lanes {
    ($channels:expr, |$first:ident, $N:ident| $body:block) => {{
        let (mut next, channels): (usize, usize) = (0, $channels);
        lanes!(@ 16, next, channels, $first, $N, $body);
        lanes!(@ 4, next, channels, $first, $N, $body);
        lanes!(@ 1, next, channels, $first, $N, $body);
    }};
    (@ $lanes:literal, $next:ident, $channels:ident, $first:ident, $N:ident, $body:block) => {
        while $channels - $next >= $lanes {
            const $N: usize = $lanes;
            let $first = $next;
            $body
            $next += $N;
        }
    };
}

/// Cuts slices to the number of channels of a loop, so that the compiler omits bounds checks in the loop.
macro_rules! cut {
    ($channels:expr, $($name:ident),*) => {
        $(let $name = &$name[..$channels];)*
    };
    (mut $channels:expr, $($name:ident),*) => {
        $(let $name = &mut $name[..$channels];)*
    };
}

/// Computes a value for each of `N` channels.
#[inline(always)]
pub(super) fn each<T: Copy + Default, const N: usize>(of: impl Fn(usize) -> T) -> [T; N] {
    let mut values = [T::default(); N];
    for (channel, value) in values.iter_mut().enumerate() {
        *value = of(channel);
    }
    values
}

/// Reads `N` values from `first` on, in the wide type.
#[inline(always)]
pub(super) fn at<T: Element, const N: usize>(values: &[T], first: usize) -> [T::Wide; N] {
    let values: [T; N] = bits_at(values, first);
    each(|c| values[c].widen())
}

/// Writes `N` values from `first` on.
#[inline(always)]
pub(super) fn put<T: Element, const N: usize>(values: &mut [T], first: usize, new: [T::Wide; N]) {
    put_bits(values, first, each::<T, N>(|c| T::narrow(new[c])));
}

/// Adds to `N` values from `first` on.
#[inline(always)]
pub(super) fn add<T: Real, const N: usize>(values: &mut [T], first: usize, new: [T; N]) {
    let old = at::<T, N>(values, first);
    put(values, first, each::<T, N>(|c| old[c] + new[c]));
}

/// Reads `N` values from `first` on, without conversion.
#[inline(always)]
pub(super) fn bits_at<T: Copy, const N: usize>(values: &[T], first: usize) -> [T; N] {
    *values[first..first + N].first_chunk().expect("as long as that")
}

/// Writes `N` values from `first` on, without conversion.
#[inline(always)]
pub(super) fn put_bits<T: Copy, const N: usize>(values: &mut [T], first: usize, new: [T; N]) {
    *values[first..first + N].first_chunk_mut().expect("as long as that") = new;
}
