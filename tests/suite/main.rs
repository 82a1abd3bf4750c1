//! Public behaviour, one file a subject.

mod counts;
mod data_download;
mod data_fashion_mnist;
mod data_idx;
mod data_loader;
mod data_sets;
mod parity;
