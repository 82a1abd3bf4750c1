//! The images of a report: predictions, mistakes, and training images as the network sees them.

use super::page::content::LabeledImage;
use crate::Result;
use crate::data::{Batch, Dataset, Image, SampleKey, Targets, Values, fetch};
use crate::metrics::ClassPrediction;
use crate::train::{Evaluation, Run};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Number of first images with their predictions: three rows of eight.
pub(super) const FIRST: usize = 24;

/// Largest number of mistakes, and of those of one class.
const MISTAKES: usize = 48;
const MISTAKES_OF_A_CLASS: usize = 8;

/// Number of training images, and of epochs that each is shown in.
const TRAINING: usize = 4;
const EPOCHS: u64 = 6;

/// Longest side of an image in a report, in pixels.
const LONGEST: usize = 128;

/// Returns samples with their true and predicted classes; none where samples are not images of classes.
pub(super) fn labeled(
    dataset: &dyn Dataset,
    samples: &[usize],
    predictions: &[Option<ClassPrediction>],
) -> Result<Vec<LabeledImage>> {
    let &[channels, height, width] = dataset.sample_shape() else { return Ok(Vec::new()) };
    if samples.is_empty() || !matches!(channels, 1 | 3) {
        return Ok(Vec::new());
    }
    let keys: Vec<SampleKey> = samples.iter().copied().map(SampleKey::for_evaluation).collect();
    let batch = fetch(dataset, &keys)?;
    let Targets::Classes(truths) = &batch.targets else { return Ok(Vec::new()) };
    let name = |class: usize| dataset.classes().get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    let pixels = bytes(&batch);
    let labeled = truths.iter().zip(predictions).zip(pixels.chunks_exact(channels * height * width));
    labeled
        .map(|((&truth, prediction), pixels)| {
            Ok(LabeledImage {
                image: shrunk([channels, height, width], pixels)?,
                truth: name(truth as usize),
                predicted: prediction.map_or_else(|| "none".to_owned(), |prediction| name(prediction.class)),
                correct: prediction.is_some_and(|prediction| prediction.class == truth as usize),
                probability: prediction.map(|prediction| prediction.probability),
            })
        })
        .collect()
}

/// Returns wrong predictions of an evaluation, class by class, those with the highest probability first.
pub(super) fn mistakes(dataset: &dyn Dataset, evaluation: &Evaluation) -> Result<Vec<LabeledImage>> {
    let mut by_class = BTreeMap::<usize, Vec<(usize, ClassPrediction)>>::new();
    for (sample, (prediction, &truth)) in evaluation.predictions.iter().zip(&evaluation.targets).enumerate() {
        if let Some(prediction) = prediction.filter(|prediction| prediction.class != truth) {
            by_class.entry(truth).or_default().push((sample, prediction));
        }
    }
    let share = (MISTAKES / by_class.len().max(1)).clamp(1, MISTAKES_OF_A_CLASS);
    let mut chosen = Vec::new();
    for mut mistakes in by_class.into_values() {
        mistakes.sort_by(|(_, a), (_, b)| b.probability.total_cmp(&a.probability));
        mistakes.truncate(share);
        chosen.extend(mistakes);
    }
    chosen.truncate(MISTAKES);
    let (samples, predictions): (Vec<_>, Vec<_>) =
        chosen.into_iter().map(|(sample, prediction)| (sample, Some(prediction))).unzip();
    labeled(dataset, &samples, &predictions)
}

/// Returns some training images, evenly spaced, each in several epochs as the network sees it, or in one where it is the
/// same in all.
pub(super) fn training(run: &Run) -> Result<Vec<Vec<Image>>> {
    let len = run.datasets.train.len();
    let samples: Vec<usize> = (0..len.min(TRAINING)).map(|row| row * len / len.min(TRAINING)).collect();
    let mut rows = vec![Vec::new(); samples.len()];
    for epoch in 0..EPOCHS {
        let Some(images) = seen(run, &run.training_inputs(&samples, epoch)?)? else { return Ok(Vec::new()) };
        rows.iter_mut().zip(images).for_each(|(row, image)| row.push(image));
    }
    if rows.iter().all(|row| row.iter().all(|image| *image == row[0])) {
        rows.iter_mut().for_each(|row| row.truncate(1));
    }
    Ok(rows)
}

/// Converts inputs of the network to images, without their normalization; `None` where they are not images.
fn seen(run: &Run, inputs: &Tensor) -> Result<Option<Vec<Image>>> {
    let shape: Vec<usize> = inputs.size().iter().map(|&size| size as usize).collect();
    let &[_, channels @ (1 | 3), height, width] = &shape[..] else { return Ok(None) };
    let values = run.config.preprocess.denormalize(&inputs.to_kind(Kind::Float)).to_device(Device::Cpu);
    let values =
        Vec::<f32>::try_from(values.contiguous().view(-1)).map_err(crate::Error::libtorch("training images"))?;
    let has_shares = values.iter().all(|value| (-0.01..=1.01).contains(value));
    let pixels: Vec<u8> = match has_shares {
        true => values.iter().map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8).collect(),
        false => scaled(&values),
    };
    let images = pixels.chunks_exact(channels * height * width).map(|pixels| shrunk([channels, height, width], pixels));
    images.collect::<Result<_>>().map(Some)
}

/// Returns the values as bytes: scaled from the least to the greatest of the batch where they are not bytes already.
fn bytes(batch: &Batch) -> Vec<u8> {
    match &batch.values {
        Values::U8(bytes) => bytes.clone(),
        Values::F32(values) => scaled(values),
    }
}

/// Returns numbers as bytes, from 0 for the least finite one to 255 for the greatest.
fn scaled(values: &[f32]) -> Vec<u8> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
    values.iter().map(|value| ((value - low) * scale) as u8).collect()
}

/// Returns an image whose longest side is at most [`LONGEST`]: the means of blocks of pixels where it is too large.
fn shrunk([channels, height, width]: [usize; 3], pixels: &[u8]) -> Result<Image> {
    let times = height.max(width).div_ceil(LONGEST);
    let (small_height, small_width) = ((height / times).max(1), (width / times).max(1));
    let mean = |plane: &[u8], row: usize, column: usize| {
        let rows = row * times..((row + 1) * times).min(height);
        let columns = column * times..((column + 1) * times).min(width);
        let count = (rows.len() * columns.len()) as u32;
        let sum: u32 = rows.flat_map(|y| &plane[y * width..][columns.clone()]).map(|&value| u32::from(value)).sum();
        (sum / count) as u8
    };
    let mut small = Vec::with_capacity(channels * small_height * small_width);
    for plane in pixels.chunks_exact(height * width) {
        small.extend((0..small_height).flat_map(|y| (0..small_width).map(move |x| mean(plane, y, x))));
    }
    Image::new([channels, small_height, small_width], Values::U8(small))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_image_is_shrunk_to_the_means_of_its_blocks() {
        let wide =
            shrunk([1, 2, 256], &(0..512).map(|at| if at % 2 == 0 { 10 } else { 20 }).collect::<Vec<_>>()).unwrap();
        assert_eq!((wide.shape(), wide.bytes().unwrap()[0]), ([1, 1, 128], 15));
        let small = shrunk([1, 1, 3], &[1, 2, 3]).unwrap();
        assert_eq!(small.bytes().unwrap(), [1, 2, 3]);
    }
}
