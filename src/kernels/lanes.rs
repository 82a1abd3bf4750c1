//! Some channels of a pixel at once, as many as fit into a register or a part of it.
//!
//! The compiler vectorizes a loop of unknown length four registers at a time, and what is left,
//! which may be all 32 channels of a growth rate, goes one by one. It also has to assume that what
//! is written is read by the next channel. So the kernels go through the channels in steps of a
//! known length, and read all that a step needs before they write.

use super::{Element, Real};

/// Runs a block with the first channel and the number `$N` (a constant) of channels of each step
/// through `$channels`.
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

/// Slices of as many channels as a loop over them has, which lets the compiler leave out the checks
/// in the loop.
macro_rules! cut {
    ($channels:expr, $($name:ident),*) => {
        $(let $name = &$name[..$channels];)*
    };
    (mut $channels:expr, $($name:ident),*) => {
        $(let $name = &mut $name[..$channels];)*
    };
}

/// A value for each of `N` channels.
#[inline(always)]
pub(super) fn each<T: Copy + Default, const N: usize>(of: impl Fn(usize) -> T) -> [T; N] {
    let mut values = [T::default(); N];
    for (channel, value) in values.iter_mut().enumerate() {
        *value = of(channel);
    }
    values
}

/// `N` values from `first` on, as what is computed with.
#[inline(always)]
pub(super) fn at<T: Element, const N: usize>(values: &[T], first: usize) -> [T::Wide; N] {
    let values: [T; N] = bits_at(values, first);
    each(|c| values[c].widen())
}

/// Writes to `first` and what follows.
#[inline(always)]
pub(super) fn put<T: Element, const N: usize>(values: &mut [T], first: usize, new: [T::Wide; N]) {
    put_bits(values, first, each::<T, N>(|c| T::narrow(new[c])));
}

/// Adds to `first` and what follows.
#[inline(always)]
pub(super) fn add<T: Real, const N: usize>(values: &mut [T], first: usize, new: [T; N]) {
    let old = at::<T, N>(values, first);
    put(values, first, each::<T, N>(|c| old[c] + new[c]));
}

/// `N` values from `first` on, as they are.
#[inline(always)]
pub(super) fn bits_at<T: Copy, const N: usize>(values: &[T], first: usize) -> [T; N] {
    *values[first..first + N].first_chunk().expect("as long as that")
}

/// Writes to `first` and what follows, as it is.
#[inline(always)]
pub(super) fn put_bits<T: Copy, const N: usize>(values: &mut [T], first: usize, new: [T; N]) {
    *values[first..first + N].first_chunk_mut().expect("as long as that") = new;
}
