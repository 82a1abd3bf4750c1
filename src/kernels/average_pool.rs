//! Norm, ReLU and average pooling in one pass: the transition's 2×2 and the head's global pooling.

use super::lanes::{at, each, put};
use super::rows::{GradientSums, PartialSums, through_norm};
use super::{Affine, Element, Real};
use std::ops::Range;

/// The geometry of adjacent pooling windows. Rows and columns that do not fill a window are left out, as in libtorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the input in pixels.
    pub input: [usize; 2],
    /// Height and width of a window in pixels.
    pub window: [usize; 2],
}

impl Window {
    /// Height and width of the output in windows.
    pub fn output(&self) -> [usize; 2] {
        [self.input[0] / self.window[0], self.input[1] / self.window[1]]
    }

    fn weight<W: Real>(&self) -> W {
        W::from_f64(1.0 / (self.window[0] * self.window[1]) as f64)
    }
}

/// Pools from all of `x` into a range of output rows, counted over all images. The output slice holds these rows alone.
pub fn norm_relu_average_pool<T: Element, O: Element<Wide = T::Wide>>(
    x: &[T],
    stride: usize,
    window: Window,
    affine: Affine<T::Wide>,
    rows: Range<usize>,
    out: &mut [O],
) {
    let ([height, width], [out_height, out_width]) = (window.input, window.output());
    let row_length = out_width * affine.channels();
    for (row, out) in rows.zip(out.chunks_exact_mut(row_length)) {
        let (image, row) = (row / out_height, row % out_height);
        let first = (image * height + row * window.window[0]) * width * stride;
        pool_row(&x[first..], stride, width, window.window, window.weight(), affine, out);
    }
}

kernel! {
    /// Pools into one row of the output.
    fn pool_row<O>(
        x: &[T],
        stride: usize,
        width: usize,
        window: [usize; 2],
        weight: T::Wide,
        affine: Affine<T::Wide>,
        out: &mut [O],
    ) {
        let channels = affine.channels();
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let corner = &x[column * window[1] * stride..];
            lanes!(channels, |first, N| {
                let mut sum = [T::Wide::default(); N];
                for y in 0..window[0] {
                    for x in 0..window[1] {
                        let pixel = (y * width + x) * stride;
                        let z = affine.apply::<N>(first, at(&corner[pixel..pixel + channels], first));
                        sum = each(|c| sum[c] + z[c].relu());
                    }
                }
                put(out, first, each::<T::Wide, N>(|c| sum[c] * weight));
            });
        }
    }
}

/// Computes the backward pass from the gradient `upstream` of all outputs for a range of input rows, counted over all
/// images: writes scale·g into these rows of `gradient`, whose pixels lie `stride` elements apart. Returns the sums for
/// dβ and dγ.
#[allow(clippy::too_many_arguments)]
pub fn norm_relu_average_pool_backward<T: Element, O: Element<Wide = T::Wide>>(
    upstream: &[O],
    x: &[T],
    stride: usize,
    window: Window,
    affine: Affine<T::Wide>,
    rows: Range<usize>,
    gradient: &mut [T],
) -> GradientSums {
    let ([height, width], [out_height, out_width]) = (window.input, window.output());
    let channels = affine.channels();
    let mut sums = PartialSums::new(channels);
    for (row, gradient) in rows.zip(gradient.chunks_mut(width * stride)) {
        let (image, pooled) = (row / height, row % height / window.window[0]);
        let upstream = match pooled < out_height {
            true => &upstream[(image * out_height + pooled) * out_width * channels..][..out_width * channels],
            false => &[],
        };
        let (x, columns) = (&x[row * width * stride..], window.window[1]);
        let (shift_sums, scale_sums) = (&mut sums.shift, &mut sums.scale);
        unpool_row(upstream, columns, window.weight(), x, stride, affine, gradient, shift_sums, scale_sums);
        sums.count(width);
    }
    sums.finish()
}

kernel! {
    /// Computes the gradient of one row of the input.
    #[allow(clippy::too_many_arguments)]
    fn unpool_row<O>(
        upstream: &[O],
        columns: usize,
        weight: T::Wide,
        x: &[T],
        stride: usize,
        affine: Affine<T::Wide>,
            gradient: &mut [T],
        shift_sums: &mut [T::Wide],
        scale_sums: &mut [T::Wide],
    ) {
        let channels = affine.channels();
        for (column, (x, gradient)) in x.chunks(stride).zip(gradient.chunks_mut(stride)).enumerate() {
            let (x, gradient) = (&x[..channels], &mut gradient[..channels]);
            let Some(upstream) = upstream.chunks_exact(channels).nth(column / columns) else {
                gradient.fill(T::default());
                continue;
            };
            lanes!(channels, |first, N| {
                let upstream = at::<O, N>(upstream, first);
                let upstream = each::<T::Wide, N>(|c| upstream[c] * weight);
                let x = at::<T, N>(x, first);
                put(gradient, first, through_norm(upstream, x, affine, first, shift_sums, scale_sums));
            });
        }
    }
}
