//! Contents of reports, for tests.

use super::content::{Epoch, LabeledImage, Metadata, MetricValue, ReportContent, RunStatus, Split};
use crate::data::{Image, Values};
use crate::metrics::ConfusionMatrix;

/// Epochs of a classifier that learns: train and test loss, then train and test accuracy.
pub(super) fn epochs(count: usize) -> Vec<Epoch> {
    let epoch = |epoch: usize| {
        let learned = 1.0 - (-(epoch as f64) / 3.0).exp();
        let value = |metric: &str, split, value| MetricValue { metric: metric.to_owned(), split, value };
        Epoch {
            epoch,
            values: vec![
                value("loss", Split::Train, 0.7 - 0.6 * learned),
                value("loss", Split::Test, 0.6 - 0.3 * learned),
                value("accuracy", Split::Train, 0.75 + 0.22 * learned),
                value("accuracy", Split::Test, 0.72 + 0.2 * learned),
            ],
            learning_rate: 0.1,
            train_seconds: 41.2,
            evaluation_seconds: 1.9,
            train_samples: 60_000,
        }
    };
    (1..=count).map(epoch).collect()
}

/// Epochs of a run whose targets are not classes.
pub(super) fn regression(count: usize) -> Vec<Epoch> {
    let mut epochs = epochs(count);
    epochs.iter_mut().for_each(|epoch| epoch.values.truncate(2));
    epochs
}

/// A finished run with all parts: two classes, one correct prediction and one wrong one.
pub(super) fn content() -> ReportContent {
    let mut content = ReportContent::new("DenseNet on <Fashion>");
    content.status = RunStatus::Finished;
    content.epochs = epochs(3);
    content.classes = vec!["trouser".into(), "R&D </script> \"coat\"".into()];
    content.images = vec![image(content.classes[0].clone(), true), image(content.classes[1].clone(), false)];
    let mut confusion = ConfusionMatrix::new(2);
    for (truth, predicted) in [(0, Some(0)), (0, Some(0)), (0, Some(0)), (1, Some(0)), (1, Some(1)), (1, None)] {
        confusion.add(truth, predicted);
    }
    content.confusion = Some(confusion);
    content.summary = Some("conv0   64 x 46 x 46\npool0   64 x 23 x 23".into());
    content.metadata = vec![Metadata::new("Configuration", [("batch size", "64"), ("stem", "<7x7>")])];
    content
}

/// A gray image of 4 by 4 pixels.
pub(super) fn image(truth: String, correct: bool) -> LabeledImage {
    let image = Image::new([1, 4, 4], Values::U8((0..16).map(|n| n * 8).collect())).unwrap();
    LabeledImage { image, truth, predicted: "trouser".into(), correct, probability: Some(0.61) }
}
