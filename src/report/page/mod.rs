//! The page and the images of a report, made from plain data.
//!
//! `report.html` is an askama template with uPlot (in `uplot/`, version 1.6.32) for the curves; `curves.png` and
//! `predictions.png` are drawn by plotters. All of them take a [`content::ReportContent`], which does not depend on the
//! trainer.

mod confusion;
pub(super) mod content;
pub(super) mod curves;
mod drawing;
#[cfg(test)]
mod examples;
mod format;
pub(super) mod html;
pub(super) mod predictions;
#[cfg(test)]
mod tests;
