//! The command line: what is served where, and its limits.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Serve predictions over HTTP from a model bundle
#[derive(Clone, Parser)]
pub struct Args {
    /// Model bundle, such as runs/001/model.safetensors of the example `fashion_mnist`
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// IP address and port to listen on; the system chooses a port instead of 0
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Most images that go through the network together
    #[arg(long, value_name = "IMAGES", default_value_t = 32)]
    pub batch_size: usize,
    /// Most images that wait for the network; more are refused with status 503
    #[arg(long, value_name = "IMAGES", default_value_t = 256)]
    pub queue: usize,
    /// Most pixels of an image; more are refused with status 422
    #[arg(long, value_name = "PIXELS", default_value_t = 1 << 23)]
    pub max_pixels: usize,
    /// Most bytes of a request's body; more are refused with status 413
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub max_bytes: usize,
    /// Most memory in MiB of all bodies that are being received or wait
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub body_memory: u32,
    /// Most memory in MiB of all images that are decoded or predicted
    #[arg(long, value_name = "MIB", default_value_t = 160)]
    pub image_memory: u32,
    /// Most connections; the limit on open files may leave fewer. For a further one, that connection is closed which
    /// has waited longest for its client
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 1024)]
    pub connections: usize,
    /// Longest time in seconds that a client may take for the head of a request, and idle between two requests
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub head_seconds: u64,
    /// Longest time in seconds that a client may take for the body of a request; status 408 after that
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub body_seconds: u64,
    /// Longest time in seconds that a request waits for memory; status 503 after that
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub wait_seconds: u64,
    /// Longest time in seconds that accepted requests may take after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub grace_seconds: u64,
}

impl Args {
    /// Returns the longest time for the head of a request.
    pub fn head_time(&self) -> Duration {
        Duration::from_secs(self.head_seconds)
    }

    /// Returns the longest time for the body of a request.
    pub fn body_time(&self) -> Duration {
        Duration::from_secs(self.body_seconds)
    }

    /// Returns the longest time that a request waits for memory.
    pub fn wait_time(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }
}
