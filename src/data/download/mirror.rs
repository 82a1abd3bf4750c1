//! Download of one file from one server.

use super::Download;
use crate::data::known_file::KnownFile;
use crate::error::DataError;
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Read;
use std::net::IpAddr;
use ureq::http::Uri;

/// A server that has the files of a download in one folder.
pub(super) struct Mirror {
    folder_url: String,
    agent: ureq::Agent,
}

impl Mirror {
    /// Checks the address and prepares requests with the timeouts of the download.
    pub(super) fn new(url: &str, config: &Download) -> Result<Self> {
        let https = match url.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => true,
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some_and(is_this_machine) => false,
            _ => {
                let expected = "an https address (http only on this machine)";
                return Err(Error::invalid_value("mirror", url, expected));
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
            // Plain http stays on this machine: no proxy, and no redirect to elsewhere.
            settings = settings.proxy(None).max_redirects(0);
        }
        let folder_url = format!("{}/", url.trim_end_matches('/'));
        Ok(Mirror { folder_url, agent: ureq::Agent::new_with_config(settings.build()) })
    }

    /// Returns the address of a file.
    pub(super) fn url(&self, file: &KnownFile) -> String {
        format!("{}{}.gz", self.folder_url, file.name)
    }

    /// Fetches the compressed bytes of a file, at most as many as a reasonable compressor makes of it.
    pub(super) fn fetch_file(&self, file: &KnownFile) -> Result<Vec<u8>> {
        let connection = |source| Error::Data(DataError::Connection { source });
        let status = |status| Error::Data(DataError::ServerStatus { status });
        let mut body = match self.agent.get(self.url(file)).call() {
            Ok(response) if response.status() == 200 => response.into_body(),
            Ok(response) => return Err(status(response.status().as_u16())),
            Err(ureq::Error::StatusCode(code)) => return Err(status(code)),
            Err(error) => return Err(connection(error.into())),
        };
        let bar = progress_bar(file.name, body.content_length());
        let limit_bytes = largest_gzip(file.bytes);
        let mut bytes = Vec::new();
        let read = bar.wrap_read(body.as_reader()).take(limit_bytes + 1).read_to_end(&mut bytes);
        bar.finish_and_clear();
        match read {
            Err(error) => Err(connection(error.into())),
            Ok(_) if bytes.len() as u64 > limit_bytes => Err(Error::Data(DataError::DownloadTooLarge { limit_bytes })),
            Ok(_) => Ok(bytes),
        }
    }
}

/// Returns the largest size that a reasonable compressor makes of `bytes`: incompressible data are stored with a small
/// overhead.
fn largest_gzip(bytes: u64) -> u64 {
    bytes + bytes / 1000 + (1 << 12)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Shows progress on the error output where that is a terminal, and nothing otherwise.
fn progress_bar(name: &str, bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{msg} {bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style).with_message(name.to_owned())
}
