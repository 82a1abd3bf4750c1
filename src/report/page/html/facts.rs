//! The last figures, the configuration and the summary.

use super::{beside, section as part};
use crate::report::page::content::{FactGroup, ReportContent};
use crate::report::page::{escape, format};

/// The figures that one looks for first; nothing where no epoch is finished.
pub(super) fn figures(content: &ReportContent) -> String {
    let history = &content.history;
    let Some(last) = history.last() else { return String::new() };
    let samples = history.epochs.iter().map(|record| record.train.samples).sum();
    let mut figures = Vec::new();
    if let Some(test) = &last.test {
        match test.accuracy() {
            Some(accuracy) => figures.push(("test accuracy", format::number(accuracy))),
            None => figures.push(("test loss", format::number(test.loss()))),
        }
    }
    if let Some(accuracy) = last.validation.as_ref().and_then(|metrics| metrics.accuracy()) {
        figures.push(("validation accuracy", format::number(accuracy)));
    }
    if let Some(accuracy) = last.train.accuracy() {
        figures.push(("train accuracy", format::number(accuracy)));
    }
    figures.push(("train loss", format::number(last.train.loss())));
    figures.push(("training time", format::seconds(history.train_seconds())));
    figures.push(("samples a second", format::per_second(samples, history.train_seconds())));
    let items: String =
        figures.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n")).collect();
    format!("<dl class=\"figures\">\n{items}</dl>\n")
}

/// A table a group.
pub(super) fn groups(content: &ReportContent) -> String {
    let group = |group: &FactGroup| {
        let row = |(name, value): &(String, String)| {
            format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape::text(name), escape::text(value))
        };
        let rows: String = group.facts.iter().map(row).collect();
        part(&group.heading, &format!("<table class=\"facts\">\n<tbody>\n{rows}</tbody>\n</table>\n"))
    };
    let tables: Vec<String> = content.facts.iter().filter(|group| !group.facts.is_empty()).map(group).collect();
    beside(&tables)
}

/// The layers of the model.
pub(super) fn summary(content: &ReportContent) -> String {
    let summary = content.summary.as_deref().filter(|summary| !summary.trim().is_empty());
    summary.map_or_else(String::new, |summary| {
        part("Summary", &format!("<pre class=\"scroll\">{}</pre>\n", escape::text(summary)))
    })
}
