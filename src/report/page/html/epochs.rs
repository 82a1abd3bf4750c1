//! The epochs in numbers, with their times.

use super::section as part;
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

fn columns(history: &History) -> [Column; 11] {
    let any = |has: fn(&EpochRecord) -> bool| history.epochs.iter().any(has);
    let validated = any(|record| record.validation.is_some());
    let column = |head, shown, text| Column { head, shown, text };
    [
        column("epoch", true, |record| record.epoch.to_string()),
        column("train loss", true, |record| format::number(record.train.loss)),
        column("train acc", any(|r| r.train.accuracy.is_some()), |record| format::optional(record.train.accuracy)),
        column("validation loss", validated, |record| format::optional(record.validation.map(|scores| scores.loss))),
        column("validation acc", any(|r| r.validation.is_some_and(|scores| scores.accuracy.is_some())), |record| {
            format::optional(record.validation.and_then(|scores| scores.accuracy))
        }),
        column("test loss", true, |record| format::number(record.test.loss)),
        column("test acc", any(|r| r.test.accuracy.is_some()), |record| format::optional(record.test.accuracy)),
        column("learning rate", true, |record| format::rate(record.learning_rate)),
        column("training", true, |record| format::seconds(record.train_seconds)),
        column("evaluation", true, |record| format::seconds(record.evaluation_seconds)),
        column("samples a second", true, |record| match record.train.samples {
            0 => ABSENT.to_owned(),
            samples => format::per_second(samples, record.train_seconds),
        }),
    ]
}
