//! Kernels over rows: a row is one pixel's channels, and rows lie `stride` elements apart, so that a kernel can read or
//! write some of the channels of a wide buffer.

use super::lanes::{add, at, each, put};
use super::moments::{Moments, ROWS_A_SUM};
use super::{Affine, Element, Real};

kernel! {
    /// Writes ReLU(norm(x)) of the first channels of each row of `x` into the dense rows `out`.
    pub fn norm_relu(x: &[T], stride: usize, affine: Affine<T::Wide>, out: &mut [T]) {
        let channels = affine.channels();
        let affine = affine.cut(channels);
        for (x, out) in x.chunks(stride).zip(out.chunks_exact_mut(channels)) {
            cut!(channels, x);
            cut!(mut channels, out);
            lanes!(channels, |first, N| {
                let z = affine.apply::<N>(first, at(x, first));
                put(out, first, each::<T::Wide, N>(|c| z[c].relu()));
            });
        }
    }
}

/// Copies dense rows `y` of `channels` into the rows of `out`.
pub fn copy<T: Element>(y: &[T], channels: usize, out: &mut [T], stride: usize) {
    for (y, out) in y.chunks_exact(channels).zip(out.chunks_mut(stride)) {
        out[..channels].copy_from_slice(y);
    }
}

/// Copies dense rows `y` of `channels` into the rows of `out`, and returns their moments.
pub fn copy_with_moments<T: Element>(y: &[T], channels: usize, out: &mut [T], stride: usize) -> Moments {
    moments_of_parts(y, channels, |part, y| copy(y, channels, &mut out[part * ROWS_A_SUM * stride..], stride))
}

/// Returns the moments of dense rows `y` of `channels`.
pub fn moments<T: Element>(y: &[T], channels: usize) -> Moments {
    moments_of_parts(y, channels, |_, _| {})
}

/// Visits the rows part by part: passes each part to `visit` and sums it while it is in the cache.
fn moments_of_parts<T: Element>(y: &[T], channels: usize, mut visit: impl FnMut(usize, &[T])) -> Moments {
    let mut partial = (vec![T::Wide::default(); channels], vec![T::Wide::default(); channels]);
    let shift = about_mean(&y[..y.len().min(channels * ROWS_A_SUM)], channels, &mut partial.0, &mut partial.1);
    let (mut sums, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
    for (part, y) in y.chunks(channels * ROWS_A_SUM).enumerate() {
        visit(part, y);
        sum_rows(y, &shift, &mut partial.0, &mut partial.1);
        drain(&mut partial.0, &mut sums);
        drain(&mut partial.1, &mut squares);
    }
    Moments::from_sums(y.len() / channels, &shift, &sums, &squares)
}

/// Returns a value near the mean of each channel of some rows. Sums about it lose nothing where the mean is far from 0.
/// A single row would not do: where it is an outlier, the deviations of all others lose the bits in which they differ.
///
/// `sums` and `squares` are 0 before and after.
fn about_mean<T: Element>(y: &[T], channels: usize, sums: &mut [T::Wide], squares: &mut [T::Wide]) -> Vec<T::Wide> {
    let first: Vec<T::Wide> = y[..channels].iter().map(|y| y.widen()).collect();
    sum_rows(y, &first, sums, squares);
    let share = T::Wide::from_f64(channels as f64 / y.len() as f64);
    let mean = first.iter().zip(&*sums).map(|(&first, &sum)| first + sum * share).collect();
    sums.fill(T::Wide::default());
    squares.fill(T::Wide::default());
    mean
}

kernel! {
    /// Adds Σ(y − shift) and Σ(y − shift)² of dense rows to the sums.
    pub fn sum_rows(y: &[T], shift: &[T::Wide], sums: &mut [T::Wide], squares: &mut [T::Wide]) {
        let channels = shift.len();
        cut!(mut channels, sums, squares);
        for y in y.chunks_exact(channels) {
            cut!(channels, y);
            lanes!(channels, |first, N| {
                let (y, shift) = (at::<T, N>(y, first), at::<T::Wide, N>(shift, first));
                let deviation = each::<T::Wide, N>(|c| y[c] - shift[c]);
                add(sums, first, deviation);
                add(squares, first, each::<T::Wide, N>(|c| deviation[c] * deviation[c]));
            });
        }
    }
}

/// Sums of a norm's backward pass over some rows, per channel: dβ = Σ g and Σ g·(x − μ).
#[derive(Clone, Debug, PartialEq)]
pub struct GradientSums {
    /// Σ g, which is dβ.
    pub shift: Vec<f64>,
    /// Σ g·(x − μ); times r it is dγ.
    pub scale: Vec<f64>,
}

impl GradientSums {
    /// Creates sums over no rows.
    pub fn zero(channels: usize) -> Self {
        GradientSums { shift: vec![0.0; channels], scale: vec![0.0; channels] }
    }

    /// Adds the sums of other rows.
    pub fn add(&mut self, other: &GradientSums) {
        for (sum, part) in [(&mut self.shift, &other.shift), (&mut self.scale, &other.scale)] {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
}

/// Sums in the wide type, which are added in f64 before they become inaccurate.
pub(super) struct PartialSums<W> {
    pub shift: Vec<W>,
    pub scale: Vec<W>,
    rows: usize,
    sums: GradientSums,
}

impl<W: Real> PartialSums<W> {
    pub fn new(channels: usize) -> Self {
        let zeros = || vec![W::default(); channels];
        PartialSums { shift: zeros(), scale: zeros(), rows: 0, sums: GradientSums::zero(channels) }
    }

    /// Notes that `rows` rows were added.
    pub fn count(&mut self, rows: usize) {
        self.rows += rows;
        if self.rows >= ROWS_A_SUM {
            self.drain();
        }
    }

    pub fn finish(mut self) -> GradientSums {
        self.drain();
        self.sums
    }

    fn drain(&mut self) {
        drain(&mut self.shift, &mut self.sums.shift);
        drain(&mut self.scale, &mut self.sums.scale);
        self.rows = 0;
    }
}

/// Computes the backward pass of norm and ReLU from the gradient `upstream` (dense rows): adds scale·g to the first
/// channels of the rows of `gradient`, where g is `upstream` behind the ReLU. Returns the sums for dβ and dγ.
pub fn accumulate<T: Element>(
    upstream: &[T],
    x: &[T],
    stride: usize,
    affine: Affine<T::Wide>,
    gradient: &mut [T::Wide],
) -> GradientSums {
    let channels = affine.channels();
    let mut sums = PartialSums::new(channels);
    let parts = upstream.chunks(channels * ROWS_A_SUM).zip(x.chunks(stride * ROWS_A_SUM));
    for ((upstream, x), gradient) in parts.zip(gradient.chunks_mut(stride * ROWS_A_SUM)) {
        accumulate_part(upstream, x, stride, affine, gradient, &mut sums.shift, &mut sums.scale);
        sums.count(ROWS_A_SUM);
    }
    sums.finish()
}

/// Passes the gradient of `N` channels of a pixel through the backward pass of ReLU and norm, and adds to the sums for
/// dβ and dγ.
#[inline(always)]
pub(super) fn through_norm<W: Real, const N: usize>(
    upstream: [W; N],
    x: [W; N],
    affine: Affine<W>,
    first: usize,
    shift_sums: &mut [W],
    scale_sums: &mut [W],
) -> [W; N] {
    let deviation = affine.deviation::<N>(first, x);
    let (z, scale) = (affine.of_deviation::<N>(first, deviation), at::<W, N>(affine.scale, first));
    let g = each::<W, N>(|c| z[c].gate(upstream[c]));
    add(shift_sums, first, g);
    add(scale_sums, first, each::<W, N>(|c| g[c] * deviation[c]));
    each(|c| g[c] * scale[c])
}

kernel! {
    /// Computes [`accumulate`] over so few rows that sums in the wide type are accurate enough.
    #[allow(clippy::too_many_arguments)]
    pub fn accumulate_part(
        upstream: &[T],
        x: &[T],
        stride: usize,
        affine: Affine<T::Wide>,
        gradient: &mut [T::Wide],
        shift_sums: &mut [T::Wide],
        scale_sums: &mut [T::Wide],
    ) {
        let channels = affine.channels();
        let affine = affine.cut(channels);
        cut!(mut channels, shift_sums, scale_sums);
        let rows = upstream.chunks_exact(channels).zip(x.chunks(stride)).zip(gradient.chunks_mut(stride));
        for ((upstream, x), gradient) in rows {
            cut!(channels, upstream, x);
            cut!(mut channels, gradient);
            lanes!(channels, |first, N| {
                let (upstream, x) = (at::<T, N>(upstream, first), at::<T, N>(x, first));
                let g = through_norm::<T::Wide, N>(upstream, x, affine, first, shift_sums, scale_sums);
                add(gradient, first, g);
            });
        }
    }
}

/// The constants that correct a gradient for the batch statistics, which are functions of the same values.
#[derive(Clone, Copy, Debug)]
pub struct Correction<'a, W> {
    /// The summand that is subtracted from the gradient, per channel.
    pub offset: &'a [W],
    /// The factor of x − μ in what is subtracted, per channel.
    pub slope: &'a [W],
    /// The mean of each channel.
    pub mean: &'a [W],
}

impl<'a, W: Real> Correction<'a, W> {
    /// Returns the constants of the first channels.
    #[inline(always)]
    pub(super) fn cut(self, channels: usize) -> Correction<'a, W> {
        Correction { offset: &self.offset[..channels], slope: &self.slope[..channels], mean: &self.mean[..channels] }
    }

    /// Corrects the gradient of `N` channels of a pixel from `first` on.
    #[inline(always)]
    pub(super) fn apply<const N: usize>(&self, first: usize, gradient: [W; N], x: [W; N]) -> [W; N] {
        let (offset, slope) = (at::<W, N>(self.offset, first), at::<W, N>(self.slope, first));
        let mean = at::<W, N>(self.mean, first);
        each(|c| gradient[c] - (offset[c] + slope[c] * (x[c] - mean[c])))
    }
}

/// Writes gradient − (offset + slope·(x − μ)) of some channels of rows into the dense rows `out`. Returns their sums.
pub fn correct<T: Element>(
    gradient: &[T::Wide],
    x: &[T],
    stride: usize,
    correction: Correction<T::Wide>,
    out: &mut [T],
) -> Vec<f64> {
    let channels = correction.mean.len();
    let (mut partial, mut sums) = (vec![T::Wide::default(); channels], vec![0.0; channels]);
    let parts = gradient.chunks(stride * ROWS_A_SUM).zip(x.chunks(stride * ROWS_A_SUM));
    for ((gradient, x), out) in parts.zip(out.chunks_mut(channels * ROWS_A_SUM)) {
        correct_part(gradient, x, stride, correction, out, &mut partial);
        drain(&mut partial, &mut sums);
    }
    sums
}

kernel! {
    /// Computes [`correct`] over so few rows that sums in the wide type are accurate enough.
    pub fn correct_part(
        gradient: &[T::Wide],
        x: &[T],
        stride: usize,
        correction: Correction<T::Wide>,
        out: &mut [T],
        sums: &mut [T::Wide],
    ) {
        let channels = correction.mean.len();
        let correction = correction.cut(channels);
        cut!(mut channels, sums);
        let rows = gradient.chunks(stride).zip(x.chunks(stride)).zip(out.chunks_exact_mut(channels));
        for ((gradient, x), out) in rows {
            cut!(channels, gradient, x);
            cut!(mut channels, out);
            lanes!(channels, |first, N| {
                let (gradient, x) = (at::<T::Wide, N>(gradient, first), at::<T, N>(x, first));
                let corrected = correction.apply::<N>(first, gradient, x);
                put(out, first, corrected);
                add(sums, first, corrected);
            });
        }
    }
}

/// Moves sums into f64 sums.
fn drain<W: Real>(partial: &mut [W], sums: &mut [f64]) {
    for (partial, sum) in partial.iter_mut().zip(sums) {
        *sum += partial.to_f64();
        *partial = W::default();
    }
}
