//! The backward pass of a norm whose input has no other reader, over dense rows: first its sums, then the gradient.

use super::lanes::{at, each, put};
use super::moments::ROWS_A_SUM;
use super::rows::{PartialSums, through_norm};
use super::{Affine, Correction, Element, GradientSums, Real};

/// Returns the sums for dβ and dγ of ReLU(norm(x)), from the gradient `upstream` of its output.
pub fn norm_sums<T: Element>(upstream: &[T], x: &[T], affine: Affine<T::Wide>) -> GradientSums {
    let channels = affine.channels();
    let mut sums = PartialSums::new(channels);
    for (upstream, x) in upstream.chunks(channels * ROWS_A_SUM).zip(x.chunks(channels * ROWS_A_SUM)) {
        norm_sums_part(upstream, x, affine, &mut sums.shift, &mut sums.scale);
        sums.count(ROWS_A_SUM);
    }
    sums.finish()
}

kernel! {
    /// Computes [`norm_sums`] over so few rows that sums in the wide type are accurate enough.
    pub fn norm_sums_part(
        upstream: &[T],
        x: &[T],
        affine: Affine<T::Wide>,
        shift_sums: &mut [T::Wide],
        scale_sums: &mut [T::Wide],
    ) {
        let channels = affine.channels();
        let affine = affine.cut(channels);
        cut!(mut channels, shift_sums, scale_sums);
        for (upstream, x) in upstream.chunks_exact(channels).zip(x.chunks_exact(channels)) {
            cut!(channels, upstream, x);
            lanes!(channels, |first, N| {
                let (upstream, x) = (at::<T, N>(upstream, first), at::<T, N>(x, first));
                through_norm::<T::Wide, N>(upstream, x, affine, first, shift_sums, scale_sums);
            });
        }
    }
}

kernel! {
    /// Turns `gradient`, that of the output of ReLU(norm(x)), in place into that of `x`.
    pub fn norm_backward(gradient: &mut [T], x: &[T], affine: Affine<T::Wide>, correction: Correction<T::Wide>) {
        let channels = affine.channels();
        let (affine, correction) = (affine.cut(channels), correction.cut(channels));
        for (gradient, x) in gradient.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            cut!(channels, x);
            cut!(mut channels, gradient);
            lanes!(channels, |first, N| {
                let (upstream, x) = (at::<T, N>(gradient, first), at::<T, N>(x, first));
                let (z, scale) = (affine.apply::<N>(first, x), at::<T::Wide, N>(affine.scale, first));
                let g = each::<T::Wide, N>(|c| z[c].gate(upstream[c]) * scale[c]);
                put(gradient, first, correction.apply::<N>(first, g, x));
            });
        }
    }
}
