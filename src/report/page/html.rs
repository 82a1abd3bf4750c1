//! `report.html`: a run on one page that needs no network.

mod confusion;
mod curves;
mod epochs;
mod facts;
mod images;

use std::path::Path;

use crate::Result;
use crate::files::replace;
use crate::report::page::content::{ReportContent, RunStatus};
use crate::report::page::escape;

/// Writes the page: curves, predictions, confusion matrix, accuracy of each class, epochs, configuration and summary.
///
/// Everything it needs is inside; a policy in its head forbids the browser to fetch anything. The file has about 4.5 MiB,
/// nearly all of it plotly.js, which draws the curves; before the first epoch is finished it is left out.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) where the file cannot be written.
pub fn write(content: &ReportContent, path: &Path) -> Result<()> {
    replace(path, page(content).as_bytes())
}

fn page(content: &ReportContent) -> String {
    let parts = [
        facts::figures(content),
        curves::section(&content.history),
        images::section(&content.images),
        beside(&[confusion::matrix(content), confusion::classes(content)]),
        epochs::section(&content.history),
        facts::groups(content),
        facts::summary(content),
    ];
    format!(
        include_str!("html/page.html"),
        title = escape::text(&content.title),
        style = include_str!("html/report.css"),
        state = state(content.status),
        status = status(content),
        parts = parts.concat(),
        scripts = curves::scripts(&content.history),
    )
}

fn state(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Finished => "finished",
        RunStatus::Stopped { .. } => "stopped",
    }
}

fn status(content: &ReportContent) -> String {
    let epochs = match content.history.epochs.len() {
        0 => "no epoch".to_owned(),
        1 => "1 epoch".to_owned(),
        count => format!("{count} epochs"),
    };
    match content.status {
        RunStatus::Running => format!("Running: {epochs} done."),
        RunStatus::Finished => format!("Finished: {epochs} done."),
        RunStatus::Stopped { epoch, step } => format!("Stopped in epoch {epoch} after step {step}: {epochs} done."),
    }
}

/// Parts that stand side by side where there is room.
fn beside(parts: &[String]) -> String {
    let parts = parts.concat();
    if parts.is_empty() { parts } else { format!("<div class=\"beside\">\n{parts}</div>\n") }
}

/// A headed part of the page.
fn section(heading: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape::text(heading))
}

#[cfg(test)]
mod tests;
