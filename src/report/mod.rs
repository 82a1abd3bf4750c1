//! Progress bars, log lines, CSV files and pages that show a run.
//!
//! The types here are [callbacks](crate::train::Callback): they read a run and do not change it.

mod console;
#[cfg(any(feature = "progress", feature = "report"))]
mod format;
mod history_file;
#[cfg(feature = "report")]
mod page;
#[cfg(feature = "progress")]
mod progress;
#[cfg(feature = "report")]
mod report_images;
mod run_folder;
#[cfg(feature = "report")]
mod run_report;
mod terminal;
#[cfg(feature = "progress")]
mod time_estimate;

pub use console::ConsoleLog;
pub use history_file::HistoryFile;
#[cfg(feature = "progress")]
#[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
pub use progress::ProgressBar;
pub use run_folder::RunFolder;
#[cfg(feature = "report")]
#[cfg_attr(docsrs, doc(cfg(feature = "report")))]
pub use run_report::Report;
