//! The example `serve` under real clients on loopback, and the example `predict`. Cargo builds it with the feature
//! `serve`.
#![cfg(all(feature = "serve", feature = "download", target_os = "linux"))]

mod bundles;
mod memory;
mod responses;
mod server;
mod shutdown;
mod silence;
