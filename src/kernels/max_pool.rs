//! Norm, ReLU and 3×3 max pooling with stride 2 and padding 1 in one pass, for the stem.

use super::lanes::{at, bits_at, each, put, put_bits};
use super::rows::{Correction, GradientSums, PartialSums, through_norm};
use super::{Affine, Element, Real};
use std::ops::Range;

const KERNEL: usize = 3;
const STRIDE: usize = 2;
const PADDING: usize = 1;

/// Returns the height or width of the output for that of the input.
pub fn max_pooled(size: usize) -> usize {
    (size + 2 * PADDING - KERNEL) / STRIDE + 1
}

/// Pools from the dense rows `x` into a range of output rows, counted over all images of `[height, width]`; `indices`
/// receives the place of each maximum in its window. Both outputs hold these rows alone.
pub fn norm_relu_max_pool<T: Element>(
    x: &[T],
    [height, width]: [usize; 2],
    affine: Affine<T::Wide>,
    rows: Range<usize>,
    out: &mut [T],
    indices: &mut [u8],
) {
    let channels = affine.channels();
    let (out_height, row_length) = (max_pooled(height), max_pooled(width) * channels);
    for (row, (out, indices)) in rows.zip(out.chunks_exact_mut(row_length).zip(indices.chunks_exact_mut(row_length))) {
        let (image, row) = (row / out_height, row % out_height);
        let image = &x[image * height * width * channels..][..height * width * channels];
        pool_row(image, height, width, row, affine, out, indices);
    }
}

kernel! {
    /// Pools into one row of the output.
    pub fn pool_row(
        image: &[T],
        height: usize,
        width: usize,
        row: usize,
        affine: Affine<T::Wide>,
        out: &mut [T],
        indices: &mut [u8],
    ) {
        let channels = affine.channels();
        for (column, (out, indices)) in out.chunks_exact_mut(channels).zip(indices.chunks_exact_mut(channels)).enumerate() {
            lanes!(channels, |first, N| {
                // Less than any output of a ReLU.
                let mut most = [T::Wide::from_f64(-1.0); N];
                let mut index = [0_u32; N];
                for place in 0..KERNEL * KERNEL {
                    let y = (row * STRIDE + place / KERNEL).wrapping_sub(PADDING);
                    let x = (column * STRIDE + place % KERNEL).wrapping_sub(PADDING);
                    if y >= height || x >= width {
                        continue;
                    }
                    let pixel = &image[(y * width + x) * channels..][..channels];
                    let z = affine.apply::<N>(first, at(pixel, first));
                    let value = each::<T::Wide, N>(|c| z[c].relu());
                    // NaN, which is not equal to itself, counts as the maximum, so that it is not hidden.
                    #[allow(clippy::eq_op)]
                    let wins = each::<bool, N>(|c| value[c] > most[c] || value[c] != value[c]);
                    most = each(|c| if wins[c] { value[c] } else { most[c] });
                    index = each(|c| if wins[c] { place as u32 } else { index[c] });
                }
                put(out, first, most);
                put_bits(indices, first, each::<u8, N>(|c| index[c] as u8));
            });
        }
    }
}

/// The inputs of a backward pass: the gradients of all outputs, the places of the maxima, and images of
/// `[height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct MaxPooled<'a, T: Element> {
    /// The gradient of each output.
    pub upstream: &'a [T],
    /// The place in its window of each maximum.
    pub indices: &'a [u8],
    /// The input of the norm: dense rows.
    pub x: &'a [T],
    /// Height and width of the input in pixels.
    pub size: [usize; 2],
    /// The constants of the norm.
    pub affine: Affine<'a, T::Wide>,
}

impl<'a, T: Element> MaxPooled<'a, T> {
    /// Returns one row of the input, counted over all images.
    #[inline(always)]
    fn row(&self, row: usize) -> MaxPooledRow<'a, T> {
        let channels = self.affine.channels();
        let [height, width] = self.size;
        let out_size = [max_pooled(height), max_pooled(width)];
        let outputs = out_size[0] * out_size[1] * channels;
        let image = row / height;
        MaxPooledRow {
            upstream: &self.upstream[image * outputs..][..outputs],
            indices: &self.indices[image * outputs..][..outputs],
            x: &self.x[row * width * channels..][..width * channels],
            out_size,
            row: row % height,
            affine: self.affine,
        }
    }
}

/// A row of the input of an image, and all outputs of the image.
#[derive(Clone, Copy)]
struct MaxPooledRow<'a, T: Element> {
    upstream: &'a [T],
    indices: &'a [u8],
    x: &'a [T],
    out_size: [usize; 2],
    row: usize,
    affine: Affine<'a, T::Wide>,
}

impl<T: Element> MaxPooledRow<'_, T> {
    /// Returns the windows that contain a pixel, at most four: the start of each output, and the pixel's place in the
    /// window.
    #[inline(always)]
    fn windows(&self, column: usize, channels: usize) -> ([(usize, u8); 4], usize) {
        // Their first row is at most the pixel's, their last row at least.
        let around = |at: usize, out: usize| {
            (at + PADDING).saturating_sub(KERNEL - 1).div_ceil(STRIDE)..((at + PADDING) / STRIDE + 1).min(out)
        };
        let (mut windows, mut count) = ([(0, 0); 4], 0);
        for y in around(self.row, self.out_size[0]) {
            for x in around(column, self.out_size[1]) {
                let place = (self.row + PADDING - y * STRIDE) * KERNEL + column + PADDING - x * STRIDE;
                windows[count] = ((y * self.out_size[1] + x) * channels, place as u8);
                count += 1;
            }
        }
        (windows, count)
    }

    /// Returns the gradient of `N` channels of a pixel from these windows.
    #[inline(always)]
    fn upstream_at<const N: usize>(&self, windows: &[(usize, u8)], first: usize) -> [T::Wide; N] {
        let mut sum = [T::Wide::default(); N];
        for &(output, place) in windows {
            let upstream = at::<T, N>(self.upstream, output + first);
            let index = bits_at::<u8, N>(self.indices, output + first);
            sum = each(|c| sum[c] + if index[c] == place { upstream[c] } else { T::Wide::default() });
        }
        sum
    }
}

/// Returns the sums for dβ and dγ over a range of input rows, counted over all images.
pub fn norm_relu_max_pool_sums<T: Element>(pooled: MaxPooled<T>, rows: Range<usize>) -> GradientSums {
    let mut sums = PartialSums::new(pooled.affine.channels());
    for row in rows {
        sum_row(pooled.row(row), &mut sums.shift, &mut sums.scale);
        sums.count(pooled.size[1]);
    }
    sums.finish()
}

kernel! {
    /// One row of the input.
    fn sum_row(row: MaxPooledRow<T>, shift_sums: &mut [T::Wide], scale_sums: &mut [T::Wide]) {
        let channels = row.affine.channels();
        for (column, x) in row.x.chunks_exact(channels).enumerate() {
            let (windows, count) = row.windows(column, channels);
            lanes!(channels, |first, N| {
                let (upstream, x) = (row.upstream_at::<N>(&windows[..count], first), at::<T, N>(x, first));
                through_norm::<T::Wide, N>(upstream, x, row.affine, first, shift_sums, scale_sums);
            });
        }
    }
}

/// Computes the backward pass for a range of input rows, counted over all images: writes scale·g, corrected, into these
/// rows of `gradient`.
pub fn norm_relu_max_pool_backward<T: Element>(
    pooled: MaxPooled<T>,
    correction: Correction<T::Wide>,
    rows: Range<usize>,
    gradient: &mut [T],
) {
    let channels = correction.mean.len();
    for (row, gradient) in rows.zip(gradient.chunks_exact_mut(pooled.size[1] * channels)) {
        unpool_row(pooled.row(row), correction, gradient);
    }
}

kernel! {
    /// One row of the input.
    fn unpool_row(row: MaxPooledRow<T>, correction: Correction<T::Wide>, gradient: &mut [T]) {
        let channels = correction.mean.len();
        let (affine, correction) = (row.affine.cut(channels), correction.cut(channels));
        for (column, (x, gradient)) in row.x.chunks_exact(channels).zip(gradient.chunks_exact_mut(channels)).enumerate() {
            let (windows, count) = row.windows(column, channels);
            lanes!(channels, |first, N| {
                let (upstream, x) = (row.upstream_at::<N>(&windows[..count], first), at::<T, N>(x, first));
                let (z, scale) = (affine.apply::<N>(first, x), at::<T::Wide, N>(affine.scale, first));
                let g = each::<T::Wide, N>(|c| z[c].gate(upstream[c]) * scale[c]);
                put(gradient, first, correction.apply::<N>(first, g, x));
            });
        }
    }
}
