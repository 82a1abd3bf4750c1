//! The epochs in numbers, with their times.

use super::section as part;
use crate::metrics::Metrics;
use crate::report::page::format::{self, ABSENT};
use crate::train::{EpochRecord, History};

/// A column: what stands above it, whether the history has anything for it, and its text for one epoch.
struct Column {
    head: &'static str,
    shown: bool,
    text: fn(&EpochRecord) -> String,
}

/// One row an epoch; nothing where none is finished.
pub(super) fn section(history: &History) -> String {
    if history.epochs.is_empty() {
        return String::new();
    }
    let columns: Vec<_> = columns(history).into_iter().filter(|column| column.shown).collect();
    let heads: String = columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", column.head)).collect();
    let row = |record: &EpochRecord| {
        let cells: String = columns.iter().map(|column| format!("<td>{}</td>", (column.text)(record))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = history.epochs.iter().map(row).collect();
    part(
        "Epochs and times",
        &format!(
            "<div class=\"scroll\"><table class=\"epochs\">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
             </table></div>\n"
        ),
    )
}

fn loss(metrics: &Option<Metrics>) -> String {
    format::optional(metrics.as_ref().map(Metrics::loss))
}

fn accuracy(metrics: &Option<Metrics>) -> String {
    format::optional(metrics.as_ref().and_then(Metrics::accuracy))
}

fn has_accuracy(metrics: &Option<Metrics>) -> bool {
    metrics.as_ref().is_some_and(|metrics| metrics.accuracy().is_some())
}

fn columns(history: &History) -> [Column; 11] {
    let any = |has: fn(&EpochRecord) -> bool| history.epochs.iter().any(has);
    let validated = any(|record| record.validation.is_some());
    let column = |head, shown, text| Column { head, shown, text };
    [
        column("epoch", true, |record| record.epoch.to_string()),
        column("train loss", true, |record| format::number(record.train.loss())),
        column("train acc", any(|r| r.train.accuracy().is_some()), |record| format::optional(record.train.accuracy())),
        column("validation loss", validated, |record| loss(&record.validation)),
        column("validation acc", any(|r| has_accuracy(&r.validation)), |record| accuracy(&record.validation)),
        column("test loss", any(|r| r.test.is_some()), |record| loss(&record.test)),
        column("test acc", any(|r| has_accuracy(&r.test)), |record| accuracy(&record.test)),
        column("learning rate", true, |record| format::rate(record.learning_rate)),
        column("training", true, |record| format::seconds(record.train_seconds)),
        column("evaluation", true, |record| format::seconds(record.evaluation_seconds)),
        column("samples a second", true, |record| match record.train.samples {
            0 => ABSENT.to_owned(),
            samples => format::per_second(samples, record.train_seconds),
        }),
    ]
}
