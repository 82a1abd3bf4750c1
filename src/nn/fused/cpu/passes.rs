//! The kernels over tensors: the rows that each thread processes, and the merging of their sums.
//!
//! Work is divided into parts of a size that does not depend on the number of threads, and sums are added in the order
//! of the parts, so that the result of a pass does not depend on the number of threads.

use super::correction::Correction;
use super::norm::Norm;
use crate::kernels::{self, DropMask, GradientSums, Moments, Real, Window};
use crate::torch::{Number, empty_channels_last, for_parts, for_parts_of_two, map, values};
use tch::{Kind, Tensor};

/// Returns the number of pixels of a part: large enough that merging the parts' sums takes little time, small enough
/// that small maps too keep all threads busy.
fn pixels_per_part(features: &Tensor) -> usize {
    let [n, _, h, w] = sizes(features);
    (n * h * w).div_ceil(32).clamp(32, 1024)
}

/// Returns the number of image rows that make up about a part.
fn rows_per_part(features: &Tensor) -> usize {
    (pixels_per_part(features) / sizes(features)[3]).max(1)
}

/// Returns the sizes `[N, C, H, W]`.
pub(in crate::nn::fused) fn sizes(tensor: &Tensor) -> [usize; 4] {
    let (n, c, h, w) = tensor.size4().expect("features have four dimensions");
    [n, c, h, w].map(|size| size as usize)
}

/// Allocates features of the same images with `channels` channels.
pub(in crate::nn::fused) fn like(features: &Tensor, channels: usize) -> Tensor {
    let [n, _, h, w] = sizes(features);
    empty_channels_last([n, channels, h, w].map(|size| size as i64), features.kind())
}

/// Merges the sums for dβ and dγ of all parts.
fn summed(parts: Vec<GradientSums>, channels: usize) -> GradientSums {
    let mut sums = GradientSums::zero(channels);
    parts.iter().for_each(|part| sums.add(part));
    sums
}

/// Writes ReLU(norm(x)) of the first channels of `x` into `out`.
pub(in crate::nn::fused) fn norm_relu<T: Number>(x: &Tensor, norm: &Norm<T::Wide>, out: &mut Tensor) {
    let (pixels, stride, x) = (pixels_per_part(x), sizes(x)[1], values::<T>(x));
    for_parts(out, pixels * norm.channels(), |part, out| {
        kernels::norm_relu(&x[part * pixels * stride..], stride, norm.affine(), out);
    });
}

/// Copies `y` into the channels of `out` from `offset` on.
pub(in crate::nn::fused) fn write<T: Number>(y: &Tensor, out: &mut Tensor, offset: usize) {
    let (channels, stride, per_part) = (sizes(y)[1], sizes(out)[1], pixels_per_part(out));
    let y = values::<T>(y);
    for_parts(out, per_part * stride, |part, out| {
        let pixels = out.len() / stride;
        let y = &y[part * per_part * channels..][..pixels * channels];
        kernels::copy(y, channels, &mut out[offset..], stride);
    });
}

/// Copies `y` into the channels of `out` from `offset` on, and returns their moments.
pub(in crate::nn::fused) fn write_with_moments<T: Number>(y: &Tensor, out: &mut Tensor, offset: usize) -> Moments {
    let (channels, stride, per_part) = (sizes(y)[1], sizes(out)[1], pixels_per_part(out));
    let y = values::<T>(y);
    Moments::merged(for_parts(out, per_part * stride, |part, out| {
        let pixels = out.len() / stride;
        let y = &y[part * per_part * channels..][..pixels * channels];
        kernels::copy_with_moments(y, channels, &mut out[offset..], stride)
    }))
}

/// Applies dropout to images of which the first value has the place `first` in its batch.
pub(in crate::nn::fused) fn drop<T: Number>(x: &mut Tensor, first: usize, mask: DropMask) {
    let part_length = pixels_per_part(x) * sizes(x)[1];
    for_parts(x, part_length, |part, x: &mut [T]| kernels::drop(x, (first + part * part_length) as u64, mask));
}

/// Returns the moments of all channels of `x`.
pub(in crate::nn::fused) fn moments<T: Number>(x: &Tensor) -> Moments {
    let ([_, channels, ..], per_part, x) = (sizes(x), pixels_per_part(x), values::<T>(x));
    let parts = x.len().div_ceil(per_part * channels);
    Moments::merged(map(parts, |part| {
        let first = part * per_part * channels;
        kernels::moments(&x[first..x.len().min(first + per_part * channels)], channels)
    }))
}

/// Adds the gradient of `x`, from the gradient `upstream` of ReLU(norm(x)), to the first channels of `gradient`.
pub(in crate::nn::fused) fn accumulate<T: Number>(
    upstream: &Tensor,
    x: &Tensor,
    norm: &Norm<T::Wide>,
    gradient: &mut Tensor,
) -> GradientSums {
    let (channels, stride, per_part) = (norm.channels(), sizes(x)[1], pixels_per_part(x));
    let (upstream, x) = (values::<T>(upstream), values::<T>(x));
    let parts = for_parts(gradient, per_part * stride, |part, gradient: &mut [T::Wide]| {
        let pixels = gradient.len() / stride;
        let upstream = &upstream[part * per_part * channels..][..pixels * channels];
        kernels::accumulate(upstream, &x[part * per_part * stride..], stride, norm.affine(), gradient)
    });
    summed(parts, channels)
}

/// Returns the sums for dβ and dγ of ReLU(norm(x)), from the gradient `upstream` of its output.
pub(in crate::nn::fused) fn norm_sums<T: Number>(upstream: &Tensor, x: &Tensor, norm: &Norm<T::Wide>) -> GradientSums {
    let (channels, per_part) = (norm.channels(), pixels_per_part(x) * norm.channels());
    let (upstream, x) = (values::<T>(upstream), values::<T>(x));
    let parts = map(x.len().div_ceil(per_part), |part| {
        let part = part * per_part..x.len().min((part + 1) * per_part);
        kernels::norm_sums(&upstream[part.clone()], &x[part], norm.affine())
    });
    summed(parts, channels)
}

/// Turns `gradient`, that of the output of ReLU(norm(x)), in place into that of `x`.
pub(in crate::nn::fused) fn norm_backward<T: Number>(
    gradient: &mut Tensor,
    x: &Tensor,
    norm: &Norm<T::Wide>,
    by: &Correction<T::Wide>,
) {
    let (per_part, x) = (pixels_per_part(x) * norm.channels(), values::<T>(x));
    for_parts(gradient, per_part, |part, gradient| {
        kernels::norm_backward(gradient, &x[part * per_part..][..gradient.len()], norm.affine(), by.constants());
    });
}

/// Returns the corrected gradient of some channels of `x` and its sums, from the sum over their readers.
pub(in crate::nn::fused) fn correct<T: Number>(
    gradient: &Tensor,
    x: &Tensor,
    by: &Correction<T::Wide>,
    out: &mut Tensor,
) -> Vec<f64> {
    let (channels, stride, per_part) = (by.channels(), sizes(x)[1], pixels_per_part(x));
    let (gradient, x) = (values::<T::Wide>(gradient), values::<T>(x));
    let parts = for_parts(out, per_part * channels, |part, out| {
        let first = part * per_part * stride + by.first;
        kernels::correct(&gradient[first..], &x[first..], stride, by.constants(), out)
    });
    let mut sums = vec![0.0; channels];
    parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
    sums
}

/// Averages ReLU(norm(x)) over windows: `[N, C, ⌊H/h⌋, ⌊W/w⌋]`, as `O`.
pub(in crate::nn::fused) fn average_pool<T: Number, O: Number<Wide = T::Wide>>(
    x: &Tensor,
    norm: &Norm<T::Wide>,
    window: [usize; 2],
) -> Tensor {
    let [n, channels, height, width] = sizes(x);
    let window = Window { input: [height, width], window };
    let [out_height, out_width] = window.output();
    let mut out = empty_channels_last([n, channels, out_height, out_width].map(|size| size as i64), O::KIND);
    let (rows, x) = (rows_per_part(x).div_ceil(window.window[0]), values::<T>(x));
    for_parts(&mut out, rows * out_width * channels, |part, out: &mut [O]| {
        let first = part * rows;
        let last = first + out.len() / (out_width * channels);
        kernels::norm_relu_average_pool(x, channels, window, norm.affine(), first..last, out);
    });
    out
}

/// Computes the backward pass of [`average_pool`] from the gradient `upstream`: the gradient of `x` with its statistics
/// held constant, and the sums for dβ and dγ.
pub(in crate::nn::fused) fn average_pool_backward<T: Number, O: Number<Wide = T::Wide>>(
    upstream: &Tensor,
    x: &Tensor,
    norm: &Norm<T::Wide>,
    window: [usize; 2],
) -> (Tensor, GradientSums) {
    let [_, channels, height, width] = sizes(x);
    let window = Window { input: [height, width], window };
    let mut gradient = like(x, channels);
    let (rows, upstream, x) = (rows_per_part(x), values::<O>(upstream), values::<T>(x));
    let parts = for_parts(&mut gradient, rows * width * channels, |part, gradient| {
        let first = part * rows;
        let last = first + gradient.len() / (width * channels);
        kernels::norm_relu_average_pool_backward(upstream, x, channels, window, norm.affine(), first..last, gradient)
    });
    (gradient, summed(parts, channels))
}

/// Returns the maxima of ReLU(norm(x)) in windows of 3×3 with stride 2 and padding 1, and their places in the windows.
pub(in crate::nn::fused) fn max_pool<T: Number>(x: &Tensor, norm: &Norm<T::Wide>) -> (Tensor, Tensor) {
    let [n, channels, height, width] = sizes(x);
    let out_size = [n, channels, kernels::max_pooled(height), kernels::max_pooled(width)];
    let shape = out_size.map(|size| size as i64);
    let mut out = empty_channels_last(shape, x.kind());
    let mut indices = empty_channels_last(shape, Kind::Uint8);
    let (rows, row_length) = (rows_per_part(x).div_ceil(2), out_size[3] * channels);
    let (x, part) = (values::<T>(x), rows * row_length);
    for_parts_of_two((&mut out, part), (&mut indices, part), |part, out: &mut [T], indices: &mut [u8]| {
        let first = part * rows;
        let last = first + out.len() / row_length;
        kernels::norm_relu_max_pool(x, [height, width], norm.affine(), first..last, out, indices);
    });
    (out, indices)
}

/// The inputs of the backward pass of [`max_pool`]: the gradient of its output, the places of the maxima, and its own
/// inputs.
pub(in crate::nn::fused) struct MaxPooled<'a, W> {
    pub upstream: &'a Tensor,
    pub indices: &'a Tensor,
    pub x: &'a Tensor,
    pub norm: &'a Norm<W>,
}

impl<W: Real> MaxPooled<'_, W> {
    fn of<T: Number<Wide = W>>(&self) -> kernels::MaxPooled<'_, T> {
        let [_, _, height, width] = sizes(self.x);
        kernels::MaxPooled {
            upstream: values(self.upstream),
            indices: values(self.indices),
            x: values(self.x),
            size: [height, width],
            affine: self.norm.affine(),
        }
    }
}

/// Returns the sums for dβ and dγ of [`max_pool`].
pub(in crate::nn::fused) fn max_pool_sums<T: Number>(pooled: &MaxPooled<T::Wide>) -> GradientSums {
    let ([n, channels, height, _], kernel) = (sizes(pooled.x), pooled.of::<T>());
    let rows = rows_per_part(pooled.x);
    let parts = map((n * height).div_ceil(rows), |part| {
        let rows = part * rows..(n * height).min((part + 1) * rows);
        kernels::norm_relu_max_pool_sums(kernel, rows)
    });
    summed(parts, channels)
}

/// Computes the gradient of `x` in the backward pass of [`max_pool`].
pub(in crate::nn::fused) fn max_pool_backward<T: Number>(
    pooled: &MaxPooled<T::Wide>,
    by: &Correction<T::Wide>,
) -> Tensor {
    let ([_, channels, _, width], kernel) = (sizes(pooled.x), pooled.of::<T>());
    let mut gradient = like(pooled.x, channels);
    let rows = rows_per_part(pooled.x);
    for_parts(&mut gradient, rows * width * channels, |part, gradient| {
        let first = part * rows;
        let last = first + gradient.len() / (width * channels);
        kernels::norm_relu_max_pool_backward(kernel, by.constants(), first..last, gradient);
    });
    gradient
}
