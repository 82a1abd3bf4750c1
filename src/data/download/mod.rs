//! Fetching a data set over HTTPS, when and only when a program asks for it.

mod config;
mod mirror;
mod part;

pub use config::DownloadConfig;
