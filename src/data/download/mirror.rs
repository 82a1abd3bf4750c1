//! Asking one server for one file.

use super::DownloadConfig;
use super::part::Part;
use crate::data::KnownFile;
use crate::error::DownloadProblem;
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Read;
use std::net::IpAddr;
use ureq::http::Uri;

pub(super) struct Mirror {
    folder_url: String,
    agent: ureq::Agent,
}

impl Mirror {
    pub(super) fn new(url: &str, config: &DownloadConfig) -> Result<Self> {
        let https = match url.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => true,
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some_and(is_this_machine) => false,
            _ => {
                let expected = "an https address (http only on this machine)";
                return Err(Error::InvalidConfig { field: "mirror", value: url.to_owned(), expected });
            }
        };
        let mut settings = ureq::Agent::config_builder()
            .https_only(https)
            .user_agent(concat!("densenet/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(config.connect_timeout))
            .timeout_connect(Some(config.connect_timeout))
            .timeout_recv_response(Some(config.stall_timeout))
            .timeout_per_read(Some(config.stall_timeout))
            .timeout_global(Some(config.file_timeout));
        if !https {
            // Plain http stays on this machine: no proxy, and nobody may send the request elsewhere.
            settings = settings.proxy(None).max_redirects(0);
        }
        let folder_url = format!("{}/", url.trim_end_matches('/'));
        Ok(Mirror { folder_url, agent: ureq::Agent::new_with_config(settings.build()) })
    }

    pub(super) fn url(&self, file: &KnownFile) -> String {
        format!("{}{}.gz", self.folder_url, file.name)
    }

    /// Fetches the file into `part`. What the server does wrong is the inner error, what this machine does the outer one.
    pub(super) fn fetch(&self, file: &KnownFile, part: &mut Part) -> Result<Result<(), DownloadProblem>> {
        let limit_bytes = largest_gzip(file.bytes);
        let mut body = match self.agent.get(self.url(file)).call() {
            Ok(response) if response.status() == 200 => response.into_body(),
            Ok(response) => return Ok(Err(DownloadProblem::Status { status: response.status().as_u16() })),
            Err(ureq::Error::StatusCode(status)) => return Ok(Err(DownloadProblem::Status { status })),
            Err(error) => return Ok(Err(DownloadProblem::Connection(error.into()))),
        };
        let bar = progress_bar(&file.name, body.content_length());
        let mut reader = body.as_reader();
        let mut chunk = vec![0; 1 << 16];
        let mut total = 0;
        let outcome = loop {
            let count = match reader.read(&mut chunk) {
                Ok(0) => break Ok(()),
                Ok(count) => count,
                Err(error) => break Err(DownloadProblem::Connection(error.into())),
            };
            total += count as u64;
            if total > limit_bytes {
                break Err(DownloadProblem::TooLarge { limit_bytes });
            }
            part.write(&chunk[..count])?;
            bar.inc(count as u64);
        };
        bar.finish_and_clear();
        Ok(outcome)
    }
}

/// The most bytes that a sensible compressor makes of `bytes`: what does not shrink is stored with little around it.
fn largest_gzip(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 1000).saturating_add(1 << 12)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// On the error output; shows nothing where that is no terminal.
fn progress_bar(name: &str, bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{msg} {bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style).with_message(name.to_owned())
}
