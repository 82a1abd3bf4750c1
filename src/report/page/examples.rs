//! Contents of reports, for tests.

use crate::metrics::{ConfusionMatrix, Metrics};
use crate::report::page::content::{FactGroup, LabeledImage, ReportContent, RunStatus};
use crate::report::page::image::Image;
use crate::train::{EpochRecord, History};

/// A run that learns.
pub(super) fn history(epochs: usize) -> History {
    let scores =
        |loss, accuracy, samples| Metrics::new(samples, [("loss".to_owned(), loss), ("accuracy".to_owned(), accuracy)]);
    let record = |epoch: usize| {
        let far = 1.0 - (-(epoch as f64) / 3.0).exp();
        EpochRecord {
            epoch,
            train: scores(0.7 - 0.6 * far, 0.75 + 0.22 * far, 60_000),
            validation: None,
            test: Some(scores(0.6 - 0.3 * far, 0.72 + 0.2 * far, 10_000)),
            learning_rate: 0.1,
            train_seconds: 41.2,
            evaluation_seconds: 1.9,
        }
    };
    History { epochs: (1..=epochs).map(record).collect() }
}

/// A run whose targets are not classes.
pub(super) fn regression(epochs: usize) -> History {
    let mut history = history(epochs);
    for record in &mut history.epochs {
        for metrics in [&mut record.train].into_iter().chain(&mut record.test) {
            *metrics = Metrics::new(metrics.samples, [("loss".to_owned(), metrics.loss())]);
        }
    }
    history
}

/// Sets one value, which may be none that a run could have.
pub(super) fn set(metrics: &mut Metrics, name: &str, value: f64) {
    let others = metrics.iter().map(|(name, value)| (name.to_owned(), value)).collect::<Vec<_>>();
    *metrics = Metrics::new(metrics.samples, others.into_iter().chain([(name.to_owned(), value)]));
}

/// A finished run with all parts: two classes, one image predicted right and one wrong.
pub(super) fn content() -> ReportContent {
    let mut content = ReportContent::new("DenseNet on <Fashion>");
    content.status = RunStatus::Finished;
    content.history = history(3);
    content.classes = vec!["trouser".into(), "R&D </script> \"coat\"".into()];
    content.images = vec![image(content.classes[0].clone(), true), image(content.classes[1].clone(), false)];
    let mut confusion = ConfusionMatrix::new(2);
    for (truth, predicted) in [(0, Some(0)), (0, Some(0)), (0, Some(0)), (1, Some(0)), (1, Some(1)), (1, None)] {
        confusion.add(truth, predicted);
    }
    content.confusion = Some(confusion);
    content.summary = Some("conv0   64 x 46 x 46\npool0   64 x 23 x 23".into());
    content.facts = vec![FactGroup::new("Configuration").with("batch size", 64).with("stem", "<7x7>")];
    content
}

/// An image of 4 by 4 pixels.
pub(super) fn image(truth: String, right: bool) -> LabeledImage {
    let image = Image::new([1, 4, 4], (0..16).map(|n| n * 8).collect()).unwrap();
    LabeledImage { image, truth, predicted: "trouser".into(), right, probability: Some(0.61) }
}
