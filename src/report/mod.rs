//! What people look at: progress, lines of text, files, pages.
//!
//! The types here are [callbacks](crate::train::Callback), which only read.
#![cfg_attr(
    feature = "report",
    doc = "[`page`] is what [`Report`] writes with, and takes plain data, so that other programs can make the same pages."
)]

mod console;
mod format;
mod history_file;
#[cfg(feature = "report")]
#[cfg_attr(docsrs, doc(cfg(feature = "report")))]
pub mod page;
#[cfg(feature = "progress")]
mod progress;
mod run_folder;
#[cfg(feature = "report")]
mod run_report;
mod terminal;
mod time_estimate;

pub use console::ConsoleLog;
pub use history_file::HistoryFile;
#[cfg(feature = "report")]
#[cfg_attr(docsrs, doc(cfg(feature = "report")))]
pub use page::content::FactGroup;
#[cfg(feature = "progress")]
#[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
pub use progress::ProgressBar;
pub use run_folder::RunFolder;
#[cfg(feature = "report")]
#[cfg_attr(docsrs, doc(cfg(feature = "report")))]
pub use run_report::Report;
pub use time_estimate::TimeEstimate;
