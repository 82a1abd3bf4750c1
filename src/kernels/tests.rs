//! Every kernel against the same written down naively in f64.

use super::*;
use half::bf16;

/// Numbers in (−1, 1) that look random, by a formula.
fn numbers(len: usize, salt: f64) -> Vec<f64> {
    (0..len).map(|i| ((i as f64 + salt) * 12.9898).sin() * 43758.5453 % 1.0).collect()
}

fn round<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::narrow(T::Wide::from_f64(value))).collect()
}

fn in_f64<T: Element>(value: T) -> f64 {
    value.widen().to_f64()
}

/// Returns the largest deviation of `own` from `exact`, relative to the largest exact value.
fn error<T: Element>(own: &[T], exact: &[f64]) -> f64 {
    assert_eq!(own.len(), exact.len());
    let scale = exact.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    own.iter().zip(exact).map(|(&own, reference)| (in_f64(own) - reference).abs()).fold(0.0, f64::max) / scale
}

/// Some channels of pixels in a wide buffer, a norm over them, and sizes that are no multiples of a block.
struct Case<T: Element> {
    channels: usize,
    stride: usize,
    x: Vec<T>,
    scale: Vec<T::Wide>,
    shift: Vec<T::Wide>,
    mean: Vec<T::Wide>,
}

impl<T: Element> Case<T> {
    fn new(pixels: usize, channels: usize, stride: usize) -> Self {
        let mut scale = numbers(channels, 3.0);
        scale[0] = 0.0;
        Case {
            channels,
            stride,
            x: round(&numbers(pixels * stride, 1.0)),
            scale: round(&scale),
            shift: round(&numbers(channels, 5.0)),
            mean: round(&numbers(channels, 7.0)),
        }
    }

    fn affine(&self) -> Affine<'_, T::Wide> {
        Affine { mean: &self.mean, scale: &self.scale, shift: &self.shift }
    }

    fn x(&self, pixel: usize, c: usize) -> f64 {
        in_f64(self.x[pixel * self.stride + c])
    }

    /// Before the ReLU, rounded as the kernels round it, so that both sides agree on which side of 0 it is.
    fn z(&self, pixel: usize, c: usize) -> f64 {
        ((self.x[pixel * self.stride + c].widen() - self.mean[c]) * self.scale[c] + self.shift[c]).to_f64()
    }

    /// Input gradient of every pixel and the sums, for gradients that arrive at the pixels.
    fn backward(&self, pixels: usize, of_output: impl Fn(usize, usize) -> f64) -> (Vec<f64>, GradientSums) {
        let mut sums = GradientSums::zero(self.channels);
        let mut gradient = vec![0.0; pixels * self.channels];
        for (pixel, c) in (0..pixels).flat_map(|p| (0..self.channels).map(move |c| (p, c))) {
            let g = if self.z(pixel, c) <= 0.0 { 0.0 } else { of_output(pixel, c) };
            sums.shift[c] += g;
            sums.scale[c] += g * (self.x(pixel, c) - self.mean[c].to_f64());
            gradient[pixel * self.channels + c] = g * self.scale[c].to_f64();
        }
        (gradient, sums)
    }
}

/// The first channels of every row.
fn narrow<T: Copy>(wide: &[T], stride: usize, channels: usize) -> Vec<T> {
    wide.chunks(stride).flat_map(|row| row[..channels].to_vec()).collect()
}

fn each_kind(check_bf16: fn(f64), check_f32: fn(f64), check_f64: fn(f64)) {
    // One rounding of bf16; a few of f32 and f64.
    check_bf16(1.0 / 256.0);
    check_f32(1e-6);
    check_f64(1e-14);
}

fn check_rows<T: Element>(tolerance: f64) {
    for (pixels, channels, stride) in [(1, 1, 1), (3, 5, 9), (150, 33, 48), (201, 64, 64)] {
        let case = Case::<T>::new(pixels, channels, stride);
        let mut out = vec![T::default(); pixels * channels];
        norm_relu(&case.x, stride, case.affine(), &mut out);
        let exact: Vec<f64> = (0..pixels * channels).map(|i| case.z(i / channels, i % channels).max(0.0)).collect();
        assert!(error(&out, &exact) <= tolerance);

        let upstream: Vec<T> = round(&numbers(pixels * channels, 11.0));
        let before: Vec<T::Wide> = round(&numbers(pixels * stride, 13.0));
        let mut gradient = before.clone();
        let sums = accumulate(&upstream, &case.x, stride, case.affine(), &mut gradient);
        let (mut exact, exact_sums) = case.backward(pixels, |pixel, c| in_f64(upstream[pixel * channels + c]));
        let narrow_before = narrow(&before, stride, channels);
        exact.iter_mut().zip(&narrow_before).for_each(|(exact, before)| *exact += before.to_f64());
        assert!(error(&narrow(&gradient, stride, channels), &exact) <= tolerance);
        assert!(error(&sums.shift, &exact_sums.shift) <= tolerance);
        assert!(error(&sums.scale, &exact_sums.scale) <= tolerance);
        let others =
            |buffer: &[T::Wide]| buffer.chunks(stride).flat_map(|row| row[channels..].to_vec()).collect::<Vec<_>>();
        assert_eq!(others(&gradient), others(&before), "other channels are not touched");

        let (offset, slope): (Vec<T::Wide>, Vec<T::Wide>) =
            (round(&numbers(channels, 17.0)), round(&numbers(channels, 19.0)));
        let correction = Correction { offset: &offset, slope: &slope, mean: &case.mean };
        let sums = correct(&gradient, &case.x, stride, correction, &mut out);
        let exact: Vec<f64> = (0..pixels * channels)
            .map(|i| (i / channels, i % channels))
            .map(|(p, c)| {
                let correction = offset[c].to_f64() + slope[c].to_f64() * (case.x(p, c) - case.mean[c].to_f64());
                gradient[p * stride + c].to_f64() - correction
            })
            .collect();
        assert!(error(&out, &exact) <= tolerance);
        let exact: Vec<f64> = (0..channels).map(|c| exact.iter().skip(c).step_by(channels).sum()).collect();
        // Relative to the largest sum; sums cancel.
        assert!(error(&sums, &exact) <= 10.0 * tolerance);
    }
}

#[test]
fn rows_are_as_written_down_naively() {
    each_kind(check_rows::<bf16>, check_rows::<f32>, check_rows::<f64>);
}

fn check_inner_norm<T: Element>(tolerance: f64) {
    for (pixels, channels) in [(1, 1), (3, 5), (150, 33), (201, 64)] {
        let case = Case::<T>::new(pixels, channels, channels);
        let upstream: Vec<T> = round(&numbers(pixels * channels, 11.0));
        let (through, exact_sums) = case.backward(pixels, |pixel, c| in_f64(upstream[pixel * channels + c]));
        let sums = norm_sums(&upstream, &case.x, case.affine());
        assert!(error(&sums.shift, &exact_sums.shift) <= tolerance);
        assert!(error(&sums.scale, &exact_sums.scale) <= tolerance);

        let (offset, slope): (Vec<T::Wide>, Vec<T::Wide>) =
            (round(&numbers(channels, 17.0)), round(&numbers(channels, 19.0)));
        let correction = Correction { offset: &offset, slope: &slope, mean: &case.mean };
        let mut gradient = upstream.clone();
        norm_backward(&mut gradient, &case.x, case.affine(), correction);
        let exact: Vec<f64> = (0..pixels * channels)
            .map(|i| {
                let (pixel, c) = (i / channels, i % channels);
                let deviation = case.x(pixel, c) - case.mean[c].to_f64();
                through[i] - (offset[c].to_f64() + slope[c].to_f64() * deviation)
            })
            .collect();
        assert!(error(&gradient, &exact) <= tolerance);
    }
}

#[test]
fn a_norm_of_its_own_is_as_written_down_naively() {
    each_kind(check_inner_norm::<bf16>, check_inner_norm::<f32>, check_inner_norm::<f64>);
}

/// The moments of one pass over f32 values, in two parts, beside exact ones.
fn moments_error(center: f64) -> (f64, f64) {
    let (rows, channels, stride) = (5000, 7, 12);
    let y: Vec<f32> = numbers(rows * channels, 23.0).iter().map(|value| (center + value) as f32).collect();
    let mut out = vec![0.0; rows * stride];
    let half = 2100;
    let (first, second) = y.split_at(half * channels);
    let parts = [(first, 0), (second, half * stride)];
    let moments = Moments::merged(parts.map(|(y, start)| copy_with_moments(y, channels, &mut out[start..], stride)));
    assert_eq!(narrow(&out, stride, channels), y);
    let column = |c: usize| y.iter().skip(c).step_by(channels).map(|&value| f64::from(value));
    let mean: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / rows as f64).collect();
    let variance = |c: usize| column(c).map(|value| (value - mean[c]).powi(2)).sum::<f64>() / rows as f64;
    let variance: Vec<f64> = (0..channels).map(variance).collect();
    // The values' spread is about 1, so that an absolute error of the mean is a share of it.
    let mean_error = moments.mean().iter().zip(&mean).map(|(own, exact)| (own - exact).abs()).fold(0.0, f64::max);
    (mean_error, error(&moments.variance().collect::<Vec<_>>(), &variance))
}

#[test]
fn moments_are_exact_also_far_from_zero() {
    for center in [0.0, 100.0, -1e4] {
        let (mean, variance) = moments_error(center);
        // Deviations are exact; their sums over 64 rows are rounded to f32.
        assert!(mean <= 1e-6 && variance <= 1e-6, "around {center}: {mean:e}, {variance:e}");
    }
}

#[test]
fn an_outlier_in_the_first_row_costs_the_others_no_bits() {
    let (rows, channels) = (1000, 5);
    let mut y: Vec<f32> = numbers(rows * channels, 3.0).iter().map(|value| (value * 1e-3) as f32).collect();
    y[..channels].fill(100.0);
    let mean = |c: usize| y.iter().skip(c).step_by(channels).map(|&value| f64::from(value)).sum::<f64>() / rows as f64;
    let moments = moments(&y, channels);
    let error = (0..channels).map(|c| (moments.mean()[c] - mean(c)).abs()).fold(0.0, f64::max);
    // The mean is 0.1, and sums over 64 rows are rounded to f32.
    assert!(error <= 2e-7, "{error:e}");
}

fn check_average_pool<T: Element>(tolerance: f64) {
    for (input, window, images) in
        [([4, 4], [2, 2], 1), ([5, 7], [2, 2], 3), ([3, 3], [3, 3], 2), ([23, 23], [2, 2], 2)]
    {
        let (window, [height, width]) = (Window { input, window }, input);
        let [out_height, out_width] = window.output();
        let (channels, stride, area) = (19, 24, (window.window[0] * window.window[1]) as f64);
        let case = Case::<T>::new(images * height * width, channels, stride);
        let outputs = images * out_height * out_width;
        let mut out = vec![T::default(); outputs * channels];
        let half = images * out_height / 2;
        let (first, second) = out.split_at_mut(half * out_width * channels);
        norm_relu_average_pool(&case.x, stride, window, case.affine(), 0..half, first);
        norm_relu_average_pool(&case.x, stride, window, case.affine(), half..images * out_height, second);
        let target = |pixel: usize| {
            let (image, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
            let (y, x) = (y / window.window[0], x / window.window[1]);
            (y < out_height && x < out_width).then_some((image * out_height + y) * out_width + x)
        };
        let mut exact = vec![0.0; outputs * channels];
        for (pixel, c) in (0..images * height * width).flat_map(|p| (0..channels).map(move |c| (p, c))) {
            if let Some(output) = target(pixel) {
                exact[output * channels + c] += case.z(pixel, c).max(0.0) / area;
            }
        }
        assert!(error(&out, &exact) <= tolerance);

        let upstream: Vec<T> = round(&numbers(outputs * channels, 29.0));
        let mut gradient = vec![T::narrow(T::Wide::from_f64(9.0)); images * height * width * stride];
        let rows = 0..images * height;
        let sums =
            norm_relu_average_pool_backward(&upstream, &case.x, stride, window, case.affine(), rows, &mut gradient);
        let of_output =
            |pixel: usize, c: usize| target(pixel).map_or(0.0, |o| in_f64(upstream[o * channels + c]) / area);
        let (exact, exact_sums) = case.backward(images * height * width, of_output);
        assert!(error(&narrow(&gradient, stride, channels), &exact) <= tolerance);
        assert!(error(&sums.shift, &exact_sums.shift) <= tolerance);
        assert!(error(&sums.scale, &exact_sums.scale) <= tolerance);
    }
}

#[test]
fn average_pooling_is_as_written_down_naively() {
    each_kind(check_average_pool::<bf16>, check_average_pool::<f32>, check_average_pool::<f64>);
}

fn check_max_pool<T: Element>(tolerance: f64) {
    for (size, images) in [([1, 1], 2), ([2, 3], 1), ([5, 4], 3), ([46, 46], 1)] {
        let ([height, width], channels) = (size, 17);
        let case = Case::<T>::new(images * height * width, channels, channels);
        let (out_height, out_width) = (max_pooled(height), max_pooled(width));
        let outputs = images * out_height * out_width;
        let (mut out, mut indices) = (vec![T::default(); outputs * channels], vec![0; outputs * channels]);
        norm_relu_max_pool(&case.x, size, case.affine(), 0..images * out_height, &mut out, &mut indices);
        // For each output, the pixel of the first largest value.
        let mut exact = vec![0.0; outputs * channels];
        let mut chosen = vec![0; outputs * channels];
        for (output, c) in (0..outputs).flat_map(|o| (0..channels).map(move |c| (o, c))) {
            let (image, y, x) =
                (output / (out_height * out_width), output / out_width % out_height, output % out_width);
            let mut best = -1.0;
            for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                let (y, x) = ((2 * y + dy) as isize - 1, (2 * x + dx) as isize - 1);
                if y < 0 || x < 0 || y >= height as isize || x >= width as isize {
                    continue;
                }
                let pixel = (image * height + y as usize) * width + x as usize;
                let value = case.z(pixel, c).max(0.0);
                if value > best {
                    best = value;
                    chosen[output * channels + c] = pixel;
                }
            }
            exact[output * channels + c] = best;
        }
        assert!(error(&out, &exact) <= tolerance, "{size:?}");

        let upstream: Vec<T> = round(&numbers(outputs * channels, 31.0));
        let mut of_output = vec![0.0; images * height * width * channels];
        for (i, upstream) in upstream.iter().enumerate() {
            of_output[chosen[i] * channels + i % channels] += in_f64(*upstream);
        }
        let mut gradient = vec![T::default(); images * height * width * channels];
        let rows = 0..images * height;
        let pooled = MaxPooled { upstream: &upstream, indices: &indices, x: &case.x, size, affine: case.affine() };
        let sums = norm_relu_max_pool_sums(pooled, rows.clone());
        let (offset, slope): (Vec<T::Wide>, Vec<T::Wide>) =
            (round(&numbers(channels, 37.0)), round(&numbers(channels, 41.0)));
        let correction = Correction { offset: &offset, slope: &slope, mean: &case.mean };
        norm_relu_max_pool_backward(pooled, correction, rows, &mut gradient);
        let (mut exact, exact_sums) =
            case.backward(images * height * width, |pixel, c| of_output[pixel * channels + c]);
        for (i, exact) in exact.iter_mut().enumerate() {
            let (pixel, c) = (i / channels, i % channels);
            *exact -= offset[c].to_f64() + slope[c].to_f64() * (case.x(pixel, c) - case.mean[c].to_f64());
        }
        assert!(error(&gradient, &exact) <= tolerance, "{size:?}");
        assert!(error(&sums.shift, &exact_sums.shift) <= tolerance, "{size:?}");
        assert!(error(&sums.scale, &exact_sums.scale) <= tolerance, "{size:?}");
    }
}

#[test]
fn max_pooling_is_as_written_down_naively() {
    each_kind(check_max_pool::<bf16>, check_max_pool::<f32>, check_max_pool::<f64>);
}

#[test]
fn nan_passes_every_kernel() {
    let one = [1.0_f32; 1];
    let affine = Affine { mean: &[0.0], scale: &one, shift: &one };
    let x = [f32::NAN, 2.0, 3.0, 4.0];
    let mut out = [0.0; 4];
    norm_relu(&x, 1, affine, &mut out);
    assert!(out[0].is_nan());
    let window = Window { input: [2, 2], window: [2, 2] };
    norm_relu_average_pool(&x, 1, window, affine, 0..1, &mut out[..1]);
    assert!(out[0].is_nan());
    norm_relu_max_pool(&x, [2, 2], affine, 0..1, &mut out[..1], &mut [0]);
    assert!(out[0].is_nan());
    assert!(copy_with_moments(&x, 1, &mut out, 1).mean()[0].is_nan());
    assert!(moments(&x, 1).variance().all(f64::is_nan));
    let mut gradient = [0.0; 4];
    let sums = accumulate(&[1.0; 4], &x, 1, affine, &mut gradient);
    assert!(sums.scale[0].is_nan() && gradient[0] == 1.0);
}
