//! Norm, ReLU and 3×3 max pooling with stride 2 and padding 1 in one pass: the stem.

use super::lanes::{add, at, each, put};
use super::rows::{GradientSums, PartialSums, through_norm};
use super::{Affine, Element};
use std::ops::Range;

const KERNEL: usize = 3;
const STRIDE: usize = 2;
const PADDING: usize = 1;

/// Height or width of the output for that of the input.
pub fn max_pooled(size: usize) -> usize {
    (size + 2 * PADDING - KERNEL) / STRIDE + 1
}

/// Pools a range of output rows, counted over all pictures of `[height, width]`, from the dense rows `x`; `winners` gets the
/// place in its window of each maximum. Both outputs hold these rows alone.
pub fn norm_relu_max_pool<T: Element>(
    x: &[T],
    [height, width]: [usize; 2],
    affine: Affine<T>,
    rows: Range<usize>,
    out: &mut [T],
    winners: &mut [u8],
) {
    let channels = affine.scale.len();
    let (out_height, row_length) = (max_pooled(height), max_pooled(width) * channels);
    for (row, (out, winners)) in rows.zip(out.chunks_exact_mut(row_length).zip(winners.chunks_exact_mut(row_length))) {
        let (picture, row) = (row / out_height, row % out_height);
        let picture = &x[picture * height * width * channels..][..height * width * channels];
        pool_row(picture, height, width, row, affine, out, winners);
    }
}

kernel! {
    /// One row of the output.
    pub fn pool_row(
        picture: &[T],
        height: usize,
        width: usize,
        row: usize,
        affine: Affine<T>,
        out: &mut [T],
        winners: &mut [u8],
    ) {
        let channels = affine.scale.len();
        for (column, (out, winners)) in out.chunks_exact_mut(channels).zip(winners.chunks_exact_mut(channels)).enumerate() {
            // Less than any ReLU gives.
            out.fill(T::from_f64(-1.0));
            for place in 0..KERNEL * KERNEL {
                let y = (row * STRIDE + place / KERNEL).wrapping_sub(PADDING);
                let x = (column * STRIDE + place % KERNEL).wrapping_sub(PADDING);
                if y >= height || x >= width {
                    continue;
                }
                let pixel = &picture[(y * width + x) * channels..][..channels];
                lanes!(channels, |first, N| {
                    let (most, winner) = (at::<T, N>(out, first), at::<u8, N>(winners, first));
                    let z = affine.apply::<N>(first, at(pixel, first));
                    let value = each::<T, N>(|c| z[c].relu());
                    // NaN, which is not equal to itself, wins, so that it is not hidden.
                    #[allow(clippy::eq_op)]
                    let wins = each::<bool, N>(|c| value[c] > most[c] || value[c] != value[c]);
                    put(out, first, each::<T, N>(|c| if wins[c] { value[c] } else { most[c] }));
                    put(winners, first, each::<u8, N>(|c| if wins[c] { place as u8 } else { winner[c] }));
                });
            }
        }
    }
}

/// Takes the gradient `upstream` of all outputs back to a range of input rows, counted over all pictures: writes scale·g into
/// these rows of `gradient`. Gives the sums for dβ and dγ.
#[allow(clippy::too_many_arguments)]
pub fn norm_relu_max_pool_backward<T: Element>(
    upstream: &[T],
    winners: &[u8],
    x: &[T],
    [height, width]: [usize; 2],
    affine: Affine<T>,
    mean: &[T],
    rows: Range<usize>,
    gradient: &mut [T],
) -> GradientSums {
    let channels = mean.len();
    let (out_height, out_width) = (max_pooled(height), max_pooled(width));
    let mut sums = PartialSums::new(channels);
    for (row, gradient) in rows.zip(gradient.chunks_exact_mut(width * channels)) {
        let outputs =
            row / height * out_height * out_width * channels..(row / height + 1) * out_height * out_width * channels;
        let (upstream, winners) = (&upstream[outputs.clone()], &winners[outputs]);
        let x = &x[row * width * channels..][..width * channels];
        let (shift_sums, scale_sums) = (&mut sums.shift, &mut sums.scale);
        let sizes = [out_height, out_width];
        unpool_row(upstream, winners, sizes, row % height, x, affine, mean, gradient, shift_sums, scale_sums);
        sums.count(width);
    }
    sums.finish()
}

kernel! {
    /// One row of the input of one picture.
    #[allow(clippy::too_many_arguments)]
    pub fn unpool_row(
        upstream: &[T],
        winners: &[u8],
        sizes: [usize; 2],
        row: usize,
        x: &[T],
        affine: Affine<T>,
        mean: &[T],
        gradient: &mut [T],
        shift_sums: &mut [T],
        scale_sums: &mut [T],
    ) {
        let channels = mean.len();
        for (column, (x, gradient)) in x.chunks_exact(channels).zip(gradient.chunks_exact_mut(channels)).enumerate() {
            let (x, gradient) = (&x[..channels], &mut gradient[..channels]);
            gradient.fill(T::default());
            // The windows that this pixel is in: their first row is at most the pixel's, their last row at least.
            let window = |at: usize| (at + PADDING).saturating_sub(KERNEL - 1).div_ceil(STRIDE)..(at + PADDING) / STRIDE + 1;
            for (y, x) in window(row).flat_map(|y| window(column).map(move |x| (y, x))) {
                if y >= sizes[0] || x >= sizes[1] {
                    continue;
                }
                let place = ((row + PADDING - y * STRIDE) * KERNEL + column + PADDING - x * STRIDE) as u8;
                let first = (y * sizes[1] + x) * channels;
                let (upstream, winners) = (&upstream[first..][..channels], &winners[first..][..channels]);
                lanes!(channels, |first, N| {
                    let (upstream, winner) = (at::<T, N>(upstream, first), at::<u8, N>(winners, first));
                    let zero = T::default();
                    add(gradient, first, each::<T, N>(|c| if winner[c] == place { upstream[c] } else { zero }));
                });
            }
            lanes!(channels, |first, N| {
                let upstream = at::<T, N>(gradient, first);
                put(gradient, first, through_norm(upstream, x, affine, mean, first, shift_sums, scale_sums));
            });
        }
    }
}
